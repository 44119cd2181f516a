package wincom

// Notes is what Host.Notes says of this machine.
func (machine) Notes() []string {
	f := facts{kernel: readKernel(), driver: readDriver(), elevated: Elevated()}
	_, err := FindSetupc()
	f.setupc = err == nil
	f.pairs, f.pairsErr = readPairs()
	return f.notes()
}
