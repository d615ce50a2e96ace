package transport

import (
	"fmt"
	"net"
	"strings"
	"testing"
	"time"
)

// requests are publishes and others; what is after a request in the list finds
// what the ones before it have left.
var requests = func() (all []string) {
	add := func(room, headers, body string) { all = append(all, postOf(room, headers, body)) }
	json, key := "Content-Type: application/json\r\n", "Idempotency-Key: "
	add("a", "", "1")
	add("a", json, `{"x": [1, 2]}`)
	add("a", json+key+"k1\r\n", `"m"`)
	add("a", key+"k1\r\n", `"m"`)
	add("a", key+" k2 \r\nCookie: a=b\r\nUser-Agent: x\r\n", "text, not JSON")
	add("a", "Content-Type: Application/JSON; charset=utf-8\r\n", "nonsense")
	add("a", json, "")
	add("a", key+"k1\r\n", `"other"`)
	add("a", key+"\r\n", "1")
	add("a", key+strings.Repeat("k", 201)+"\r\n", "1")
	add("a", key+"k\r\n"+key+"l\r\n", "1")
	add("a", key+"\xff\r\n", "1")
	add("a?key=q1", "", "1")
	add("a?key=q1&ephemeral=0", key+"k3\r\n", "1")
	add("a?ephemeral=1&n=7", "", "1")
	add("a?ephemeral=maybe", "", "1")
	add("a?key=%zz", "", "1")
	add("a?token=secret", "", "1")
	add("a", "", "\xff")
	add("a", "", strings.Repeat("x", 3900)) // more than a room may hold, with its envelope
	add("a", "", strings.Repeat("y", 5000))
	add("a", "", strings.Repeat("x", 300))
	add("a", "Origin: https://app.example\r\n", "1")
	add("a", "Origin: https://evil.example\r\n", "1")
	add("a", "Origin: https://evil.example\r\nSec-Fetch-Site: same-origin\r\n", "1")
	add("a", "Origin: http://h\r\n", "1")
	add("a", "Content-Encoding: identity\r\n", "1")
	add("a", "Content-Encoding: gzip\r\n", "1")
	add("a", "Authorization: Bearer x\r\n", "1")
	add("a", "Last-Event-ID: x\r\n", "1")
	add("a", "Connection: keep-alive\r\nAccept: */*\r\nX-Own: 1\r\n", "1")
	add("a", "Connection: close\r\n", "1")
	add("a", "Host: h\r\n", "1")
	add("a", "X-Bad Name: 1\r\n", "1")
	add("a", "Expect: 100-continue\r\n", "1")
	add("a", "Content-Length: 1\r\n", "1")
	add("a", "Content-Length: 2\r\n", "1")
	add("a,b", "", "1")
	add("a%2fb", "", "1")
	add(".", "", "1")
	add("a/", "", "1")
	add("a/poll?wait=0&from=start&limit=1", "", "")
	add("a/nothing", "", "1")
	add(strings.Repeat("r", 201), "", "1")
	add("a", "", "1")
	all[len(all)-1] += "\r\n" // of clients that end a body so
	add("a", "", "1")
	all[len(all)-1] = "\n\r\n\r" + all[len(all)-1]
	add("a", "Connection: close\r\n", "1")
	return append(all,
		"POST /rooms/a HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n1\r\n0\r\n\r\n",
		"POST /rooms/a HTTP/1.1\r\nHost: h\r\n\r\n",
		"POST /rooms/a HTTP/1.1\r\nContent-Length: 1\r\n\r\n1",
		"POST /rooms/a HTTP/1.0\r\nHost: h\r\nContent-Length: 1\r\n\r\n1",
		"POST /rooms/a HTTP/1.1\nHost: h\nContent-Length: 1\n\n1",
		"POST /rooms/a HTTP/1.1\r\nHost: h\r\nContent-Length: x\r\n\r\n1",
		"POST /rooms/a HTTP/1.1\r\nHost: h/\r\nContent-Length: 1\r\n\r\n1",
		"PUT /rooms/a HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\n\r\n1",
		"POST /publish HTTP/1.1\r\nHost: h\r\nContent-Length: 21\r\n\r\n{\"room\":\"a\",\"data\":1}",
		"GET /rooms/a/history?limit=2 HTTP/1.1\r\nHost: h\r\n\r\n",
		"GET /rooms/a?wait=0&last=1 HTTP/1.1\r\nHost: h\r\n\r\n",
		"OPTIONS /rooms/a HTTP/1.1\r\nHost: h\r\nOrigin: https://app.example\r\nAccess-Control-Request-Method: POST\r\n\r\n",
	)
}()

// Every request is answered alike by the HTTP server and on a connection that
// was taken over, to the byte, wherever it is cut in two.
func TestPostsAlike(t *testing.T) {
	for _, waits := range []bool{false, true} {
		t.Run(fmt.Sprintf("waits=%v", waits), func(t *testing.T) {
			plain, taking := newSite(t, siteSetup{}), newSite(t, siteSetup{takes: true, waits: waits})
			var ordinary, taken *publisher
			once := func(request string, cut int) {
				t.Helper()
				if ordinary == nil {
					ordinary = plain.dial()
				}
				// A connection that came back is not taken over again at once.
				if taken == nil || taking.Parked() == 0 {
					if taken != nil {
						taken.Conn.Close()
					}
					taken = taking.dial()
					taken.publishes(4)
					ordinary.publishes(4)
					taking.await(1)
				}
				ordinary.send(request)
				want, err := ordinary.raw()
				if err != nil {
					t.Fatalf("%q: %v", request, err)
				}
				taken.send(request[:cut])
				if cut > 0 && cut < len(request) {
					time.Sleep(200 * time.Microsecond)
				}
				taken.send(request[cut:])
				got, err := taken.raw()
				if err != nil || steady(got) != steady(want) {
					t.Fatalf("%q, cut at %d: %v\n%q\nwant\n%q", request, cut, err, got, want)
				}
				if strings.HasPrefix(want, "HTTP/1.1 100") {
					want, _ := ordinary.raw()
					if got, err := taken.raw(); err != nil || steady(got) != steady(want) {
						t.Fatalf("%q, cut at %d: %v\n%q\nwant\n%q", request, cut, err, got, want)
					}
				}
				if strings.Contains(want, "\r\nConnection: close\r\n") || strings.Contains(request, "HTTP/1.0") || strings.Contains(want, "Connection: close") {
					ordinary.Conn.Close()
					taken.Conn.Close()
					ordinary, taken = nil, nil
					taking.await(0)
				}
			}
			for n, request := range requests {
				for range 3 {
					once(request, len(request))
				}
				step := 1
				if n >= 4 {
					step = 17 + n%5
				}
				if testing.Short() {
					step *= 10
				}
				for cut := 1; cut < len(request); cut += step {
					once(request, cut)
				}
			}
		})
	}
}

// What a client does that ends its side in the middle of a request, is answered
// alike.
func TestPostsCutOff(t *testing.T) {
	plain, taking := newSite(t, siteSetup{}), newSite(t, siteSetup{takes: true})
	request := postOf("a", "Content-Type: application/json\r\n", `{"x":1}`)
	for cut := 0; cut <= len(request); cut += 3 {
		end := func(s *site) string {
			p := s.dial()
			p.publishes(2)
			if s == taking {
				s.await(1)
			}
			p.send(request[:cut])
			p.Conn.(*net.TCPConn).CloseWrite()
			rest := p.rest()
			p.Conn.Close()
			taking.await(0)
			return steady(rest)
		}
		if got, want := end(taking), end(plain); got != want {
			t.Fatalf("%q: %q\nwant %q", request[:cut], got, want)
		}
	}
}

// Requests that come in one piece are answered in their order, also where some
// of them are not for who reads them.
func TestPostsPipelined(t *testing.T) {
	for _, waits := range []bool{false, true} {
		for _, warm := range []int{0, 1, 2, 4} {
			s := newSite(t, siteSetup{takes: true, waits: waits})
			p := s.dial()
			p.publishes(warm)
			var all strings.Builder
			for i := range 90 {
				switch i % 9 {
				case 4:
					all.WriteString("GET /rooms/other/history HTTP/1.1\r\nHost: h\r\n\r\n")
				case 6:
					all.WriteString(postOf("a,b", "", "1"))
				case 7:
					all.WriteString(postOf("a", fmt.Sprintf("X-Own: %d\r\n", i), "1"))
				default:
					all.WriteString(postOf("a", fmt.Sprintf("Idempotency-Key: %d\r\n", i), "1"))
				}
			}
			go p.send(all.String())
			offset := 0
			for i := range 90 {
				answer, err := p.raw()
				want := "HTTP/1.1 201"
				switch i % 9 {
				case 4:
					want = "HTTP/1.1 200"
				case 6:
					want = "HTTP/1.1 400"
				default:
					offset++
				}
				if err != nil || !strings.HasPrefix(answer, want) || want == "HTTP/1.1 201" && !strings.Contains(answer, fmt.Sprintf(`"offset":%d,`, offset)) {
					t.Fatalf("waits %v, warm %d, answer %d: %v %q", waits, warm, i, err, answer)
				}
			}
			p.Conn.Close()
		}
	}
}
