type Listener = (event: any) => void;

export class Emitter {
  private listeners: { [type: string]: Listener[] } = {};

  on(type: string, listener: Listener): () => void {
    (this.listeners[type] = this.listeners[type] || []).push(listener);
    return () => this.off(type, listener);
  }

  off(type: string, listener: Listener) {
    this.listeners[type] = (this.listeners[type] || []).filter((l) => l != listener);
  }

  emit(type: string, event: unknown) {
    for (const listener of (this.listeners[type] || []).slice()) {
      try {
        listener(event);
      } catch (e) {
        // A fault of the page stays one, and does not stop the messages.
        setTimeout(() => {
          throw e;
        });
      }
    }
  }
}
