// What a model says, as elements: paragraphs, lists, code. Nothing of it is ever read as HTML.

const FENCE = /^\s*```(.*)$/;
const ITEM = /^\s*(?:[-*•]|(\d+)[.)])\s+(.*)$/;
const HEADING = /^#{1,6}\s+(.*)$/;
const INLINE = /(`[^`\n]+`)|\*\*([^*\n]+)\*\*|\*([^*\s][^*\n]*)\*/g;

export function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (key === "class") made.className = value;
    else if (key.startsWith("on")) made.addEventListener(key.slice(2), value);
    else if (value !== undefined && value !== false) made.setAttribute(key, value);
  }
  made.append(...children);
  return made;
}

/// The elements of a text.
export function elements(text) {
  const made = [];
  let paragraph = [];
  const end = () => {
    if (paragraph.length > 0) made.push(element("p", {}, ...inline(paragraph.join("\n"))));
    paragraph = [];
  };
  const lines = text.split("\n");
  for (let at = 0; at < lines.length; at++) {
    const line = lines[at];
    if (FENCE.test(line)) {
      end();
      const code = [];
      while (++at < lines.length && !FENCE.test(lines[at])) code.push(lines[at]);
      made.push(element("pre", { tabindex: 0 }, element("code", {}, code.join("\n"))));
    } else if (ITEM.test(line)) {
      end();
      const items = [];
      const ordered = ITEM.exec(line)[1] !== undefined;
      for (; at < lines.length && ITEM.test(lines[at]); at++) {
        items.push(element("li", {}, ...inline(ITEM.exec(lines[at])[2])));
      }
      at--;
      made.push(element(ordered ? "ol" : "ul", {}, ...items));
    } else if (HEADING.test(line)) {
      end();
      made.push(element("p", {}, element("strong", {}, ...inline(HEADING.exec(line)[1]))));
    } else if (line.trim() === "") {
      end();
    } else {
      paragraph.push(line);
    }
  }
  end();
  return made;
}

function inline(text) {
  const parts = [];
  let from = 0;
  for (const found of text.matchAll(INLINE)) {
    parts.push(...lines(text.slice(from, found.index)));
    const [all, code, strong, soft] = found;
    if (code) parts.push(element("code", {}, code.slice(1, -1)));
    else parts.push(element(strong ? "strong" : "i", {}, strong ?? soft));
    from = found.index + all.length;
  }
  return [...parts, ...lines(text.slice(from))];
}

/// A line's end is one.
function lines(text) {
  return text.split("\n").flatMap((line, at) => (at > 0 ? [document.createElement("br"), line] : [line]));
}
