package main

import (
	"slices"

	"github.com/culvertd/culvert/cmd/internal/bench/report"
)

// turns is how often programs or loads that are compared take turns in one run
// of a row.
const turns = 3

// load is one program under one load.
type load struct {
	name string
	run  func() (*report.Result, error)
}

// took is the median of each figure over the turns of a load.
type took struct {
	delivery, publish float64 // CPU, in microseconds
	p99               float64 // in milliseconds
}

// inTurns measures loads one after the other, and all of that so many times, and
// gives the medians: a mood of the machine's that lasts for seconds falls on one
// turn, not on what one load took in all.
func inTurns(loads []load) (map[string]took, error) {
	results := map[string][]*report.Result{}
	for range turns {
		for _, l := range loads {
			r, err := l.run()
			if err != nil {
				return nil, err
			}
			results[l.name] = append(results[l.name], r)
		}
	}
	all := map[string]took{}
	for name, rs := range results {
		all[name] = took{
			delivery: medianOf(rs, func(r *report.Result) float64 { return r.CPU.PerDelivery }),
			publish:  medianOf(rs, func(r *report.Result) float64 { return r.CPU.PerPublish }),
			p99: medianOf(rs, func(r *report.Result) float64 {
				if r.Latency == nil {
					return 0 // nobody reads
				}
				return r.Latency.P99
			}),
		}
	}
	return all, nil
}

func medianOf(rs []*report.Result, figure func(*report.Result) float64) float64 {
	values := make([]float64, len(rs))
	for i, r := range rs {
		values[i] = figure(r)
	}
	slices.Sort(values)
	return values[len(values)/2]
}
