import type { Title } from "../api/types";

/** Whether a title fits every word of the search, in any language of its texts, its name or its tags. */
export function matches(title: Title, search: string): boolean {
  const wanted = search.toLocaleLowerCase().split(/\s+/).filter(Boolean);
  if (wanted.length === 0) return true;
  const haystack = [
    title.name,
    ...Object.values(title.display_name),
    ...Object.values(title.description),
    ...title.tags,
  ]
    .join("\n")
    .toLocaleLowerCase();
  return wanted.every((word) => haystack.includes(word));
}
