import { describe, expect, it } from "vitest";
import { type Column, nextSorting, search, sort, windowOf } from "../src/admin/table-model";
import { splitList } from "../src/admin/users";

interface Row {
  name: string;
  load: number | null;
}

const COLUMNS: Column<Row>[] = [
  { id: "name", heading: "Name", value: ({ name }) => name },
  { id: "load", heading: "Load", value: ({ load }) => load, isNumber: true },
];
const ROWS: Row[] = [
  { name: "gpu10", load: 3 },
  { name: "gpu2", load: null },
  { name: "Gpu1", load: 12 },
];
const names = (rows: Row[]): string[] => rows.map(({ name }) => name);

describe("tables", () => {
  it("sort as people count, and put what is unknown last in both directions", () => {
    expect(names(sort(ROWS, COLUMNS, { column: "name", descending: false }))).toEqual(["Gpu1", "gpu2", "gpu10"]);
    expect(names(sort(ROWS, COLUMNS, { column: "load", descending: false }))).toEqual(["gpu10", "Gpu1", "gpu2"]);
    expect(names(sort(ROWS, COLUMNS, { column: "load", descending: true }))).toEqual(["Gpu1", "gpu10", "gpu2"]);
  });

  it("find rows by all words in any column", () => {
    expect(names(search(ROWS, COLUMNS, " GPU 12 "))).toEqual(["Gpu1"]);
    expect(names(search(ROWS, COLUMNS, ""))).toEqual(names(ROWS));
  });

  it("turn the order at the second click", () => {
    const [name, load] = COLUMNS as [Column<Row>, Column<Row>];
    expect(nextSorting({ column: "name", descending: false }, load)).toEqual({ column: "load", descending: true });
    expect(nextSorting({ column: "load", descending: true }, load)).toEqual({ column: "load", descending: false });
    expect(nextSorting({ column: "load", descending: true }, name)).toEqual({ column: "name", descending: false });
  });

  it("draw only what is in view", () => {
    expect(windowOf(1000, 0, 460, 46)).toEqual({ first: 0, end: 20 });
    expect(windowOf(1000, 4600, 460, 46)).toEqual({ first: 90, end: 120 });
    expect(windowOf(5, 0, 460, 46)).toEqual({ first: 0, end: 5 });
    // Rows vanished while the view was far down.
    expect(windowOf(3, 4600, 460, 46)).toEqual({ first: 2, end: 3 });
    expect(windowOf(0, 0, 460, 46)).toEqual({ first: 0, end: 0 });
  });
});

it("lists by commas", () => {
  expect(splitList(" a, b c ,,")).toEqual(["a", "b c"]);
});
