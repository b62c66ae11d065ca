import { useSignal } from "@preact/signals";
import type { ComponentChild, JSX } from "preact";
import { useEffect, useRef } from "preact/hooks";
import { t } from "../i18n";
import { Icon } from "../ui/icons";
import { type Column, nextSorting, search, type Sorting, sort, windowOf } from "./table-model";

export interface ShownColumn<Row> extends Column<Row> {
  /** How it looks, when not plainly its value. */
  show?: (row: Row) => ComponentChild;
  /** Left out on narrow screens. */
  isSecondary?: boolean;
}

interface TableProps<Row> {
  label: string;
  testId: string;
  rows: readonly Row[];
  columns: readonly ShownColumn<Row>[];
  keyOf: (row: Row) => string;
  sortedBy: Sorting;
  onSelect?: (row: Row) => void;
  selected?: string | undefined;
  empty: string;
  tools?: ComponentChild;
}

const ROW_HEIGHT = 46;

/** A table that stays quick with thousands of rows: searched, sorted, and drawn only where it is looked at. */
export function Table<Row>(props: TableProps<Row>): JSX.Element {
  const { rows, columns, keyOf, label, testId } = props;
  const words = useSignal("");
  const sorting = useSignal(props.sortedBy);
  const scrolled = useSignal({ top: 0, height: 800 });
  const box = useRef<HTMLDivElement>(null);

  useEffect(() => {
    const element = box.current;
    if (!element) return undefined;
    const measure = (): void => {
      scrolled.value = { top: element.scrollTop, height: element.clientHeight };
    };
    measure();
    const observer = new ResizeObserver(measure);
    observer.observe(element);
    element.addEventListener("scroll", measure, { passive: true });
    return () => {
      observer.disconnect();
      element.removeEventListener("scroll", measure);
    };
  }, [scrolled]);

  const shown = sort(search(rows, columns, words.value), columns, sorting.value);
  const { first, end } = windowOf(shown.length, scrolled.value.top, scrolled.value.height, ROW_HEIGHT);
  const texts = t().admin.table;
  return (
    <div class="table-block">
      <div class="table-tools">
        <label class="search-box">
          <span class="visually-hidden">{texts.search}</span>
          <Icon name="search" />
          <input
            type="search"
            data-testid={`${testId}-search`}
            placeholder={texts.search}
            value={words.value}
            onInput={(event) => {
              words.value = event.currentTarget.value;
            }}
          />
        </label>
        <p class="muted" role="status" data-testid={`${testId}-count`}>
          {shown.length === rows.length ? texts.rows(rows.length) : texts.rowsOf(shown.length, rows.length)}
        </p>
        {props.tools}
      </div>
      <div ref={box} class="table-scroll" tabIndex={0} role="region" aria-label={label}>
        <table data-testid={testId} aria-rowcount={shown.length + 1}>
          <thead>
            <tr>
              {columns.map((column) => (
                <Heading
                  key={column.id}
                  column={column}
                  sorting={sorting.value}
                  onSort={() => {
                    sorting.value = nextSorting(sorting.value, column);
                  }}
                />
              ))}
            </tr>
          </thead>
          <tbody>
            {first > 0 && <Spacer rows={first} columns={columns.length} />}
            {shown.slice(first, end).map((row, index) => (
              <Line key={keyOf(row)} row={row} index={first + index + 2} table={props} />
            ))}
            {end < shown.length && <Spacer rows={shown.length - end} columns={columns.length} />}
          </tbody>
        </table>
        {shown.length === 0 && <p class="table-empty">{rows.length === 0 ? props.empty : texts.nothingFound}</p>}
      </div>
    </div>
  );
}

function Heading<Row>(props: { column: ShownColumn<Row>; sorting: Sorting; onSort: () => void }): JSX.Element {
  const { column, sorting, onSort } = props;
  const isSorted = sorting.column === column.id;
  return (
    <th
      scope="col"
      class={classOf(column)}
      aria-sort={isSorted ? (sorting.descending ? "descending" : "ascending") : "none"}
    >
      <button type="button" data-testid={`sort-${column.id}`} onClick={onSort}>
        {column.heading}
        <span
          class={`sort-mark ${isSorted ? (sorting.descending ? "sort-down" : "sort-up") : ""}`}
          aria-hidden="true"
        />
      </button>
    </th>
  );
}

function Line<Row>({ row, index, table }: { row: Row; index: number; table: TableProps<Row> }): JSX.Element {
  const { columns, keyOf, onSelect, selected } = table;
  const key = keyOf(row);
  return (
    <tr data-testid={`row-${key}`} aria-rowindex={index} class={selected === key ? "row-selected" : ""}>
      {columns.map((column, place) => {
        const content = column.show ? column.show(row) : column.value(row);
        return (
          <td key={column.id} class={classOf(column)}>
            {place === 0 && onSelect ? (
              <button type="button" class="row-open" data-testid={`open-${key}`} onClick={() => onSelect(row)}>
                {content}
              </button>
            ) : (
              content
            )}
          </td>
        );
      })}
    </tr>
  );
}

function Spacer({ rows, columns }: { rows: number; columns: number }): JSX.Element {
  return (
    <tr aria-hidden="true" style={{ height: `${rows * ROW_HEIGHT}px` }}>
      <td colSpan={columns} />
    </tr>
  );
}

function classOf<Row>(column: ShownColumn<Row>): string {
  return `${column.isNumber ? "cell-number" : ""} ${column.isSecondary ? "cell-secondary" : ""}`;
}
