package wincom

// Notes returns the notes for Host.Notes.
func (machine) Notes() []string {
	f := facts{kernel: readKernel(), driver: readDriver(), elevated: Elevated()}
	_, err := FindSetupc()
	f.setupc = err == nil
	f.pairs, f.pairsErr = readPairs()
	return f.notes()
}
