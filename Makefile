# Everything here is one command; the names are for convenience.
.PHONY: run test bench benchmarks generate check ci

run: ## the server on http://localhost:8080
	go run ./cmd/culvert

test: ## all tests
	go test -race ./...

bench: ## what Culvert costs beside its limits, twenty minutes; writes cmd/bench-limits/RESULTS.md and quotes it in the README
	go run ./cmd/bench-limits -out cmd/bench-limits/RESULTS.md -readme README.md

benchmarks: ## all Go benchmarks, with allocations
	go test -run '^$$' -bench . -benchmem ./...

generate: ## the files that are made from others
	go generate ./...

check: ## what takes seconds: format, vet, import rules
	@test -z "$$(gofmt -l $$(git ls-files '*.go'))" || { gofmt -l $$(git ls-files '*.go'); exit 1; }
	go vet ./...
	go test ./cmd/internal/imports

ci: ## the whole check of a change
	bash .ci/run
