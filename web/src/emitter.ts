type Listener = (event: any) => void;

export class Emitter {
  private listeners: { [type: string]: Set<Listener> } = {};

  on(type: string, listener: Listener): () => void {
    (this.listeners[type] = this.listeners[type] || new Set()).add(listener);
    return () => this.off(type, listener);
  }

  off(type: string, listener: Listener) {
    if (this.listeners[type]) this.listeners[type].delete(listener);
  }

  emit(type: string, event: unknown) {
    for (const listener of [...(this.listeners[type] || [])]) {
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
