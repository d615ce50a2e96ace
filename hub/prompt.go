package hub

// Prompt is a Store whose Publish never waits for anything but the short holds
// of locks: whoever must not wait may call it. Its Prompt method does nothing.
type Prompt interface{ Prompt() }

// PublishesPromptly reports whether Publish never waits.
func (h *Hub) PublishesPromptly() bool {
	_, prompt := h.store.(Prompt)
	return prompt
}
