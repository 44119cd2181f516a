package probe

import "strconv"

// Report is what Probe has found out. Its texts are fit for a terminal: what came from the network is escaped and cut.
// The names in JSON are for programs and stay.
type Report struct {
	AccessServer bool        `json:"access_server"` // it agreed to COM-PORT-OPTION
	LooksLike    string      `json:"looks_like"`    // what it is, in words, with the way out where it is something else
	Signature    string      `json:"signature"`     // what it calls itself; empty: it told nothing
	Options      []Option    `json:"options"`       // in the order in which they were first spoken of
	Settings     Settings    `json:"settings"`
	Modem        Modem       `json:"modem"`
	RTT          RTT         `json:"rtt_ms"`
	Deviations   []Deviation `json:"deviations"` // from RFC 2217, and everything else a user should know
}

// Option is a Telnet option that one of the two sides has spoken of. TIMING-MARK is none: it is asked anew each time.
type Option struct {
	Name     string   `json:"name"`
	Number   int      `json:"number"`
	Server   []string `json:"server"` // the verbs that came: WILL, WONT, DO, DONT
	Probe    []string `json:"probe"`  // the verbs that the probe has sent
	ServerOn bool     `json:"server_on"`
	ProbeOn  bool     `json:"probe_on"`
}

// Settings are what the server says is in force.
type Settings struct {
	Baud     Setting `json:"baud"`
	DataSize Setting `json:"data_size"`
	Parity   Setting `json:"parity"`
	StopSize Setting `json:"stop_size"`
	FlowOut  Setting `json:"flow_out"`
	FlowIn   Setting `json:"flow_in"`
	DTR      Setting `json:"dtr"`
	RTS      Setting `json:"rts"`
	Break    Setting `json:"break"`
}

// Setting is the answer to one question.
type Setting struct {
	Asked bool `json:"asked"`
	// Answer is a number, or a word as attach's flags have them: none, odd, even, mark, space; none, xonxoff, rtscts,
	// dcd, dtr, dsr; on, off. Empty: no answer came, or one that says nothing; Bytes tells which.
	Answer string `json:"answer"`
	Bytes  string `json:"bytes"` // the answer's value in hex; empty: no answer came
}

// Modem is what the device drives, as the server told it last.
type Modem struct {
	Told bool `json:"told"` // false: it told nothing, the lines are unknown
	CTS  bool `json:"cts"`
	DSR  bool `json:"dsr"`
	RI   bool `json:"ri"`
	DCD  bool `json:"dcd"`
}

// RTT are round-trip times in milliseconds; nil: not measured.
type RTT struct {
	TimingMark   *float64 `json:"timing_mark"`   // until the timing mark was answered
	AnswerMin    *float64 `json:"answer_min"`    // until a question was answered: the shortest
	AnswerMedian *float64 `json:"answer_median"` // the one in the middle
	AnswerMax    *float64 `json:"answer_max"`    // the longest
}

// Deviation is something that is not as RFC 2217 says, or not as a user would expect.
type Deviation struct {
	Name  string `json:"name"`  // a word for programs
	Seen  string `json:"seen"`  // what was seen
	Means string `json:"means"` // what it means for a user
}

// textMost bounds a text of the network that is shown.
const textMost = 120

// printable is a text of the network, fit for a terminal: what is not ASCII is escaped, what is long is cut.
func printable(p []byte) string {
	more := ""
	if len(p) > textMost {
		p, more = p[:textMost], "..."
	}
	q := strconv.QuoteToASCII(string(p))
	return q[1:len(q)-1] + more
}

// quoted is printable with quotation marks around it.
func quoted(p []byte) string { return `"` + printable(p) + `"` }
