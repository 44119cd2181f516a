package probe

import "strconv"

// Report is the result of a probe. Its texts can be printed to a terminal: text from the network is escaped and
// truncated. The JSON names are an interface for programs.
type Report struct {
	AccessServer bool        `json:"access_server"` // it agreed to COM-PORT-OPTION
	LooksLike    string      `json:"looks_like"`    // what it is, as text; if it is no access server, also what to do
	Signature    string      `json:"signature"`     // what it calls itself; empty: not sent
	Options      []Option    `json:"options"`       // in the order in which they were first negotiated
	Settings     Settings    `json:"settings"`
	Modem        Modem       `json:"modem"`
	RTT          RTT         `json:"rtt_ms"`
	Deviations   []Deviation `json:"deviations"` // from RFC 2217, and whatever else a user should know
}

// Option is a Telnet option that either side has negotiated. TIMING-MARK is not among them: it has no state (RFC 860).
type Option struct {
	Name     string   `json:"name"`
	Number   int      `json:"number"`
	Server   []string `json:"server"` // verbs received: WILL, WONT, DO, DONT
	Probe    []string `json:"probe"`  // verbs sent
	ServerOn bool     `json:"server_on"`
	ProbeOn  bool     `json:"probe_on"`
}

// Settings are the current settings, as the server reports them.
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

// Setting is the answer to one query.
type Setting struct {
	Asked bool `json:"asked"`
	// Answer is a number, or a word as attach's flags have them: none, odd, even, mark, space; none, xonxoff, rtscts, dcd,
	// dtr, dsr; on, off. Empty: no answer, or one without a meaning, and then Bytes is not empty.
	Answer string `json:"answer"`
	Bytes  string `json:"bytes"` // the answer's value in hex; empty: no answer
}

// Modem is the state of the lines that the device drives, as last reported.
type Modem struct {
	Reported bool `json:"told"` // false: the lines are unknown
	CTS      bool `json:"cts"`
	DSR      bool `json:"dsr"`
	RI       bool `json:"ri"`
	DCD      bool `json:"dcd"`
}

// RTT are round-trip times in milliseconds; nil: not measured.
type RTT struct {
	TimingMark   *float64 `json:"timing_mark"`   // of a timing mark
	AnswerMin    *float64 `json:"answer_min"`    // of the queries: the shortest
	AnswerMedian *float64 `json:"answer_median"` // the median
	AnswerMax    *float64 `json:"answer_max"`    // the longest
}

// Deviation is something that deviates from RFC 2217, or from what a user would expect.
type Deviation struct {
	Name  string `json:"name"`  // one word, for programs
	Seen  string `json:"seen"`  // what was seen
	Means string `json:"means"` // what it means for a user
}

// textLimit bounds, in bytes, how much of a text from the network is shown.
const textLimit = 120

// printable prepares a text from the network for a terminal: it escapes what is not printable ASCII, and truncates.
func printable(p []byte) string {
	more := ""
	if len(p) > textLimit {
		p, more = p[:textLimit], "..."
	}
	q := strconv.QuoteToASCII(string(p))
	return q[1:len(q)-1] + more
}

// quoted is printable with quotation marks around it.
func quoted(p []byte) string { return `"` + printable(p) + `"` }
