/** Sorting, searching and windowing of tables; pure. */

export type Cell = string | number | null;

export interface Column<Row> {
  id: string;
  heading: string;
  /** What it is sorted and searched by. */
  value: (row: Row) => Cell;
  /** Numbers and times stand right-aligned. */
  isNumber?: boolean;
}

export interface Sorting {
  column: string;
  descending: boolean;
}

/** Rows that contain every word in some column. */
export function search<Row>(rows: readonly Row[], columns: readonly Column<Row>[], words: string): Row[] {
  const wanted = words.toLocaleLowerCase().split(/\s+/).filter(Boolean);
  if (wanted.length === 0) return [...rows];
  return rows.filter((row) => {
    const text = columns
      .map((column) => column.value(row) ?? "")
      .join("\n")
      .toLocaleLowerCase();
    return wanted.every((word) => text.includes(word));
  });
}

/** A stable sort by one column; what has no value comes last in either direction. */
export function sort<Row>(rows: readonly Row[], columns: readonly Column<Row>[], sorting: Sorting): Row[] {
  const column = columns.find(({ id }) => id === sorting.column);
  if (!column) return [...rows];
  const sign = sorting.descending ? -1 : 1;
  return [...rows].sort((a, b) => {
    const [x, y] = [column.value(a), column.value(b)];
    if (x === null || y === null) return x === y ? 0 : x === null ? 1 : -1;
    return sign * compare(x, y);
  });
}

function compare(a: string | number, b: string | number): number {
  if (typeof a === "number" && typeof b === "number") return a - b;
  return String(a).localeCompare(String(b), undefined, { numeric: true, sensitivity: "base" });
}

/** First click on a heading sorts upwards (numbers downwards, because the largest is looked for), the next turns it. */
export function nextSorting<Row>(current: Sorting, column: Column<Row>): Sorting {
  if (current.column === column.id) return { column: column.id, descending: !current.descending };
  return { column: column.id, descending: column.isNumber ?? false };
}

export interface Window {
  first: number;
  /** One past the last row that is drawn. */
  end: number;
}

const OVERSCAN = 10;

/** Which rows to draw: those in view and a few beyond, so that a thousand rows cost no more than fifty. */
export function windowOf(count: number, scrollTop: number, viewHeight: number, rowHeight: number): Window {
  const first = Math.max(0, Math.floor(scrollTop / rowHeight) - OVERSCAN);
  const end = Math.min(count, Math.ceil((scrollTop + viewHeight) / rowHeight) + OVERSCAN);
  return { first: Math.min(first, Math.max(0, end - 1)), end };
}
