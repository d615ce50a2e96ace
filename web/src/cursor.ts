/** A place in a room: after the message at this offset of this epoch. */
export interface Place {
  epoch: string;
  /** 0: before every message the room ever had. */
  offset: number;
  id: string;
  /** As the server wrote it, with its mark. */
  text: string;
}

const form = /^(?:0|(\w+)\.([1-9]\d*)\.(\w+))(\.\w+)?$/;

export function parsePlace(text: string): Place | undefined {
  const m = form.exec(text);
  return m ? { epoch: m[1] || "", offset: +m[2] || 0, id: m[3] || "", text } : undefined;
}

/** The places of a cursor by room; one that is not understood is left out. */
export function parseCursor(text: unknown): Map<string, Place> {
  const places = new Map<string, Place>();
  for (const part of String(text).split(",")) {
    const i = part.indexOf("=");
    const place = parsePlace(part.slice(i + 1));
    if (i > 0 && place) places.set(part.slice(0, i), place);
  }
  return places;
}

/** Epochs sort by their time of birth. */
export const after = (a: Partial<Place>, b: Place) => (a.epoch == b.epoch ? a.offset! > b.offset : a.epoch! > b.epoch);

export const same = (a: Place, b?: Place) => !!b && a.epoch == b.epoch && a.offset == b.offset && a.id == b.id;
