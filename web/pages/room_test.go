package pages_test

import (
	"context"
	"fmt"
	"os/exec"
	"strings"
	"testing"

	"github.com/culvertd/culvert/hub/needtest"
	"github.com/culvertd/culvert/transport/middlebox"
)

const connected = `document.querySelector("#state").textContent.startsWith("Connected")`

func connectedOver(name string) string {
	return `document.querySelector("#state").textContent == "Connected over ` + name + `"`
}

func shows(text string) string {
	return `document.querySelector("#messages").innerText.includes(` + quote(text) + `)`
}

// say publishes a message as a person would, by keyboard.
func (x *tab) say(text string) {
	x.t.Helper()
	x.do(`document.querySelector("#text").focus()`)
	x.write(text)
	x.press("Enter")
}

// order is the numbers of the messages shown.
func (x *tab) order() string {
	x.t.Helper()
	var numbers []string
	if err := x.run(`Array.from(document.querySelectorAll("#messages .offset"), (e) => e.textContent)`, &numbers); err != nil {
		x.t.Fatal(err)
	}
	return strings.Join(numbers, " ")
}

// TestRoom: two windows exchange messages over each transport, and through cuts.
func TestRoom(t *testing.T) {
	needtest.Time(t, "it starts a browser")
	server := start(t)
	b := startBrowser(t)
	ann := b.open(t, server.URL+"/#lobby", desktop, nil)
	ann.until(connected)
	bob := b.open(t, server.URL+"/?room=lobby", window{width: 390, height: 844}, nil)
	bob.until(connected)
	for _, x := range []*tab{ann, bob} {
		x.until(`document.querySelectorAll("#here li").length == 2`)
	}
	ann.say("hello from Ann")
	bob.until(shows("hello from Ann"))
	bob.say("hello from Bob <b>&amp;</b>")
	ann.until(shows("hello from Bob <b>&amp;</b>"))
	ann.until(`document.querySelector("#published").textContent.includes("Published as number 1")`)
	publish(t, server, "lobby", `[1,{"a":"b"}]`)
	publish(t, server, "lobby", `plain text`)
	ann.until(shows(`[1,{"a":"b"}]`))
	ann.until(shows("plain text"))

	n := 4
	for _, way := range []struct{ value, name string }{{"poll", "long-poll"}, {"sse", "SSE"}, {"websocket", "WebSocket"}} {
		ann.do(`document.querySelector("input[name=transport][value=` + way.value + `]").click()`)
		ann.until(connectedOver(way.name))
		for range 3 {
			n++
			ann.say(fmt.Sprintf("message %d", n))
			bob.until(shows(fmt.Sprintf("message %d", n)))
			n++
			bob.say(fmt.Sprintf("message %d", n))
			ann.until(shows(fmt.Sprintf("message %d", n)))
		}
		ann.do(`document.querySelector("#cut").click()`)
		n++
		publish(t, server, "lobby", fmt.Sprintf(`"message %d"`, n))
		ann.until(shows(fmt.Sprintf("message %d", n)))
		ann.until(connectedOver(way.name))
		if !strings.Contains(ann.text("#log"), "Connected over "+way.name) {
			t.Errorf("the log does not tell of %s:\n%s", way.name, ann.text("#log"))
		}
		ann.picture("room-" + way.value)
	}
	var want []string
	for i := range n {
		want = append(want, fmt.Sprint(i+1))
	}
	for _, x := range []*tab{ann, bob} {
		if got := x.order(); got != strings.Join(want, " ") {
			t.Errorf("shown are %s, want 1 to %d", got, n)
		}
	}
	bob.picture("room-phone-messages")

	// Another room, by the form and by the address; a bad name is refused.
	ann.do(`document.querySelector("#room").focus()`)
	ann.write("no such/room")
	ann.press("Enter")
	ann.until(`!document.querySelector("#notice").hidden`)
	ann.do(`document.querySelector("#room").value = ""`)
	ann.write("attic")
	ann.press("Enter")
	ann.until(`location.hash == "#attic" && document.querySelector("#name").textContent == "attic" && document.querySelector("#notice").hidden`)
	ann.until(`document.querySelector("#shell").innerText.includes("/rooms/attic'")`)
	bob.do(`location.hash = "attic"`)
	ann.until(`document.querySelectorAll("#here li").length == 2`)
	ann.say("up here")
	bob.until(shows("up here"))
	bob.do(`location.hash = "a%20b"`)
	bob.until(`!document.querySelector("#notice").hidden && document.querySelector("#text").disabled`)
	ann.clean(server.URL)
	bob.clean(server.URL)
}

// TestRoomShowsGaps: messages that are gone are told of.
func TestRoomShowsGaps(t *testing.T) {
	needtest.Time(t, "it starts a browser")
	server := start(t)
	box, err := middlebox.Start(middlebox.Config{Upstream: strings.TrimPrefix(server.URL, "http://")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(box.Close)
	b := startBrowser(t)
	x := b.open(t, box.URL()+"/", desktop, nil)
	x.until(connected)
	publish(t, server, "lobby", "first")
	x.until(shows("first"))
	if err := box.Set(middlebox.Options{Answer: &middlebox.Answer{Status: 502}}); err != nil {
		t.Fatal(err)
	}
	box.Cut()
	x.until(`!` + connected)
	for i := range 60 {
		publish(t, server, "lobby", fmt.Sprintf("%d", i))
	}
	if err := box.Set(middlebox.Options{}); err != nil {
		t.Fatal(err)
	}
	x.until(`document.querySelector("#messages .gap")`)
	if got := x.text("#messages .gap"); !strings.Contains(got, "40 messages are missing here") {
		t.Errorf("the gap reads %q", got)
	}
	x.until(shows("59"))
	x.picture("room-gap")
	x.clean(box.URL(), "502", "WebSocket", "ERR_")
}

// TestScrolledUp: whoever reads further up stays there, and is told that there
// is more; text that runs from right to left does.
func TestScrolledUp(t *testing.T) {
	needtest.Time(t, "it starts a browser")
	server := start(t)
	for i := range 20 {
		publish(t, server, "lobby", quote(fmt.Sprintf("line %d", i)+strings.Repeat("\nand more", 5)))
	}
	b := startBrowser(t)
	x := b.open(t, server.URL+"/", window{width: 360, height: 740}, nil)
	x.until(shows("line 19"))
	const end = `document.querySelector("#messages").scrollHeight - document.querySelector("#messages").clientHeight - document.querySelector("#messages").scrollTop < 40`
	x.until(end)
	publish(t, server, "lobby", `"followed"`)
	x.until(shows("followed") + " && " + end)
	x.do(`document.querySelector("#messages").scrollTop = 200`)
	publish(t, server, "lobby", `{"name":"ann","text":"שלום עולם!"}`)
	x.until(`!document.querySelector("#newer").hidden && document.querySelector("#messages").scrollTop == 200`)
	x.picture("room-newer")
	x.do(`document.querySelector("#newer").click()`)
	x.until(end + ` && document.querySelector("#newer").hidden && document.activeElement.id == "messages"`)
	x.until(`getComputedStyle(document.querySelector("#lines li:last-child .body")).direction == "rtl" && getComputedStyle(document.querySelector("#lines li .body")).direction == "ltr"`)
	x.clean(server.URL)
}

// TestShell: the commands on the page work when they are pasted, and go on from
// the place that is shown.
func TestShell(t *testing.T) {
	needtest.Time(t, "it starts a browser")
	for _, name := range []string{"curl", "bash"} {
		needtest.Program(t, name)
	}
	server := start(t)
	const room = "a~b:c@d-e_f.9"
	publish(t, server, room, `"one"`)
	b := startBrowser(t)
	x := b.open(t, server.URL+"/#"+room, desktop, nil)
	x.until(connected + " && " + shows("one"))
	commands := func() (lines []string) {
		if err := x.run(`Array.from(document.querySelectorAll("#shell code"), (e) => e.textContent)`, &lines); err != nil || len(lines) != 4 {
			t.Fatalf("%q (%v)", lines, err)
		}
		return lines
	}
	x.until(`document.querySelector("#shell code").textContent.includes(".1.")`)
	paste := func(line string) string {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		c := exec.CommandContext(ctx, "bash", "-c", line)
		out, err := c.Output()
		if err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		return string(out)
	}
	lines := commands()
	if out := paste(lines[3]); !strings.Contains(out, `"offset":2`) {
		t.Errorf("%s: %s", lines[3], out)
	}
	x.until(shows("curl hello"))
	for i, want := range map[int]string{0: "hello", 1: "hello", 2: "one"} {
		line := lines[i]
		if i == 0 { // it never ends by itself
			line += " --max-time 2 || [ $? = 28 ]"
		}
		out := paste(line)
		if !strings.Contains(out, want) || i < 2 && strings.Contains(out, `"one"`) {
			t.Errorf("%s: %s", line, out)
		}
	}
	x.until(`document.querySelector("#shell code").textContent.includes(".2.")`)
	x.clean(server.URL)
}

// TestWhy: a person is told why a transport is in use, that a forced one finds
// no way, and that nothing does.
func TestWhy(t *testing.T) {
	needtest.Time(t, "it starts a browser")
	server := start(t)
	box, err := middlebox.Start(middlebox.Config{Upstream: strings.TrimPrefix(server.URL, "http://"), Options: middlebox.Options{Upgrade: middlebox.UpgradeRefuse}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(box.Close)
	b := startBrowser(t)
	x := b.open(t, box.URL()+"/", window{width: 360, height: 740}, nil)
	x.until(connectedOver("SSE") + ` && document.querySelector("#reason").textContent.startsWith("the WebSocket was refused or broke")`)
	x.until(`document.querySelector("#chip").textContent == "SSE"`)
	x.do(`document.querySelector("input[name=transport][value=websocket]").click()`)
	x.until(`document.querySelector("#state").textContent.startsWith("Out of reach") && document.querySelector("#reason").textContent.endsWith("Automatic may find another way")`)
	x.do(`document.querySelector("input[name=transport][value='']").click()`)
	x.until(connected)
	box.Close()
	x.until(`document.querySelector("#state").textContent.startsWith("Out of reach") && document.querySelector("#reason").textContent == "no connection to the server"`)
	x.clean(box.URL(), "WebSocket", "net::ERR_")
}

// TestKeyboard: everything is reached by the keyboard, has a name, and shows
// the focus.
func TestKeyboard(t *testing.T) {
	needtest.Time(t, "it starts a browser")
	server := start(t)
	b := startBrowser(t)
	x := b.open(t, server.URL+"/", desktop, nil)
	x.until(connected)
	// The way past the beginning leads to the message box, and not to a room of
	// that name.
	x.press("Tab")
	x.until(`document.activeElement.id == "skip"`)
	x.press("Enter")
	x.until(`document.activeElement.id == "text" && document.querySelector("#name").textContent == "lobby"`)
	// Enter in the name goes on to the message, Escape gives a room's name up.
	x.do(`document.querySelector("#me").select(); document.querySelector("#me").focus()`)
	x.write("Zoë Ünsal")
	x.press("Enter")
	x.until(`document.activeElement.id == "text" && document.querySelector("#here").innerText == "Zoe-Unsal (this window)"`)
	x.say("by keyboard")
	x.until(shows("Zoë Ünsal by keyboard"))
	x.do(`document.querySelector("#room").focus()`)
	x.write("a b")
	x.press("Enter")
	x.until(`!document.querySelector("#notice").hidden`)
	x.press("Escape")
	x.until(`document.activeElement.id == "text" && document.querySelector("#notice").hidden && document.querySelector("#room").value == ""`)
	x.do(`document.activeElement.blur()`)
	seen := map[string]bool{}
	for range 34 {
		x.press("Tab")
		var at struct{ ID, Name, Outline string }
		if err := x.run(`(() => {
			const e = document.activeElement, s = getComputedStyle(e.name == "transport" ? e.nextElementSibling : e);
			const name = e.getAttribute("aria-label") || (e.labels && e.labels[0] && e.labels[0].innerText) || e.innerText || "";
			return { id: e == document.body ? "" : e.id || e.name || e.innerText, name: name.trim(), outline: s.outlineStyle };
		})()`, &at); err != nil {
			t.Fatal(err)
		}
		if at.ID == "" { // behind the last one comes the document itself
			continue
		}
		if at.Name == "" || at.Outline == "none" {
			t.Errorf("%q has the name %q and the outline %q", at.ID, at.Name, at.Outline)
		}
		seen[at.ID] = true
	}
	for _, want := range []string{"room", "messages", "me", "text", "transport", "cut", "second", "log"} {
		if !seen[want] {
			t.Errorf("%s is not reached: %v", want, seen)
		}
	}
	x.do(`document.querySelector("input[name=transport]").focus()`)
	x.press("ArrowRight", "ArrowRight", "ArrowRight")
	x.until(connectedOver("long-poll"))
	x.until(`document.querySelector("#reason").textContent.startsWith("as chosen below")`)
	x.do(`document.querySelector("#shell button").click()`)
	x.until(`document.querySelector("#shell button").textContent != "Copy" && document.querySelector("#copied").textContent != ""`)
	var second string
	if err := x.run(`document.querySelector("#second").href`, &second); err != nil || second != server.URL+"/#lobby" {
		t.Errorf("a second window opens %s (%v)", second, err)
	}
	for _, selector := range []string{"[role=log][aria-live=polite]#messages > ol", "[role=status] #state", "#notice[role=alert]", "html[lang]", "main", "nav[aria-label]"} {
		x.until(`document.querySelector(` + quote(selector) + `)`)
	}
	x.clean(server.URL)
}
