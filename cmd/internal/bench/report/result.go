// Package report holds what a run of the bench found and shows it: as a table,
// as JSON, and as a page.
package report

import "time"

// Result is everything that a run found. Fields are only ever added.
type Result struct {
	Time    time.Time `json:"time"`
	Version string    `json:"version"`
	Machine Machine   `json:"machine"`
	// Setting is how the run was called, a line for people.
	Setting string `json:"setting"`
	Load    Load   `json:"load"`

	// ReadyMS is the time from the start of a server of the bench's own to its
	// being ready; 0 for a server that ran already.
	ReadyMS float64 `json:"ready_ms,omitempty"`
	Connect Connect `json:"connect"`
	Memory  *Memory `json:"memory,omitempty"`
	Traffic Traffic `json:"traffic"`
	CPU     *CPU    `json:"cpu,omitempty"`
	// Latency is from publish to receive. Publish is from publish to answer.
	Latency *Latency `json:"latency,omitempty"`
	Publish *Latency `json:"publish,omitempty"`
	// Waiting is from when a rate asked for a publish to its being sent, while
	// all connections that publish waited for answers. It is in the others.
	Waiting *Latency `json:"waiting,omitempty"`
	// Side is the latency in the side rooms.
	Side    *Latency `json:"side,omitempty"`
	Storm   *Storm   `json:"storm,omitempty"`
	Stalled *Stalled `json:"stalled,omitempty"`
	Checks  Checks   `json:"checks"`
	// Broken is why the run did not come to its end, "" where it did.
	Broken string `json:"broken,omitempty"`
	// Errors are the most frequent faults, in words.
	Errors  []Fault  `json:"errors,omitempty"`
	Samples []Sample `json:"samples,omitempty"`
}

// Machine is where the run took place.
type Machine struct {
	OS    string `json:"os"`
	Arch  string `json:"arch"`
	CPU   string `json:"cpu,omitempty"`
	Cores int    `json:"cores"`
	Go    string `json:"go"`
}

// Load is what the server was given to do.
type Load struct {
	Subscribers int     `json:"subscribers"`
	Transport   string  `json:"transport"`
	Rooms       int     `json:"rooms"`
	Size        int     `json:"size"`
	Rate        float64 `json:"rate,omitempty"`
	Outstanding int     `json:"outstanding,omitempty"`
	Batch       int     `json:"batch,omitempty"`
	Keys        bool    `json:"keys,omitempty"`
}

// Connect is how the subscribers came.
type Connect struct {
	Connections int     `json:"connections"`
	Seconds     float64 `json:"seconds"`
	PerSecond   float64 `json:"per_second"`
}

// Memory is the server's resident memory, in bytes.
type Memory struct {
	Before int64 `json:"before"` // any subscriber came
	Idle   int64 `json:"idle"`   // all are connected, nothing was published
	After  int64 `json:"after"`  // the traffic
	// Each is per connection, beyond what there was before.
	IdleEach  float64 `json:"idle_each"`
	AfterEach float64 `json:"after_each"`
	// KernelEach is the kernel's memory for TCP, both ends of each connection.
	KernelEach float64 `json:"kernel_each,omitempty"`
}

// Traffic is what was published and delivered while it was measured.
type Traffic struct {
	Seconds             float64 `json:"seconds"`
	Published           int64   `json:"published"`
	Delivered           int64   `json:"delivered"`
	PublishesPerSecond  float64 `json:"publishes_per_second"`
	DeliveriesPerSecond float64 `json:"deliveries_per_second"`
	// PerRead is how many messages came in one read of a subscriber.
	PerRead float64 `json:"per_read"`
}

// CPU is processor time by the operating system's accounting.
type CPU struct {
	ServerSeconds float64 `json:"server_seconds"`
	// KernelPart is the part of it that the kernel spent for the server, 0-1.
	KernelPart  float64 `json:"kernel_part"`
	PerDelivery float64 `json:"per_delivery_us"`
	PerPublish  float64 `json:"per_publish_us"`
	// ServerBusy and ClientBusy are cores in use, 1 being one whole core.
	ServerBusy float64 `json:"server_busy"`
	ClientBusy float64 `json:"client_busy"`
}

// Storm is how all subscribers came back at once, each with messages missed.
type Storm struct {
	Clients   int     `json:"clients"`
	Missed    int     `json:"missed"` // by each
	Seconds   float64 `json:"seconds"`
	PerClient float64 `json:"cpu_per_client_us,omitempty"`
	// Side is the latency in the side rooms meanwhile.
	Side *Latency `json:"side,omitempty"`
}

// Stalled is what the subscribers that do not read cost.
type Stalled struct {
	Count int `json:"count"`
	// KernelEach and UserEach are bytes for each of them, beyond what they
	// held when they stopped.
	KernelEach float64 `json:"kernel_each"`
	UserEach   float64 `json:"user_each"`
}

// Checks counts what must not happen, first, and what may.
type Checks struct {
	Lost       int64 `json:"lost"`       // messages that a subscriber never got, and was told nothing of
	Repeated   int64 `json:"repeated"`   // messages that a subscriber got again
	Disordered int64 `json:"disordered"` // messages that came behind a later one
	Different  int64 `json:"different"`  // messages that were not the same for everybody, or not as published
	Unanswered int64 `json:"unanswered"` // publishes that failed or were not answered
	Missing    int64 `json:"missing"`    // subscribers that could not connect, or stay connected

	Gaps       int64 `json:"gaps"`              // told by the server
	Reconnects int64 `json:"reconnects"`        // subscribers that came back after a connection broke or was ended
	Churned    int64 `json:"churned,omitempty"` // subscribers that left and came back as the run has it
}

// Faults is the number of things that must not happen.
func (c Checks) Faults() int64 {
	return c.Lost + c.Repeated + c.Disordered + c.Different + c.Unanswered + c.Missing
}

// Fault is an error in words and how often it came.
type Fault struct {
	Text  string `json:"text"`
	Count int64  `json:"count"`
}

// Sample is how things were at one moment.
type Sample struct {
	At          float64 `json:"at"`     // seconds since the run began
	Phase       string  `json:"phase"`  // of the run
	ServerBusy  float64 `json:"server"` // cores in use since the sample before
	ClientBusy  float64 `json:"client"`
	RSS         int64   `json:"rss"` // of the server, in bytes
	Connected   int     `json:"connected"`
	PerSecond   float64 `json:"deliveries_per_second"`
	ServerKnown bool    `json:"server_known"`
}
