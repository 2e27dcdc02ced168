//! What a template may not contain. The engine bounds the steps of a rendering, not its memory: an operator that puts texts
//! together doubles them with every step. So values can be chosen, tested and repeated, but not built.

/// The tags that may stand between `{%` and `%}`.
const TAGS: [&str; 6] = ["if", "elif", "else", "endif", "for", "endfor"];

/// The longest tag, in bytes. The engine walks through an expression, and through a chain of `elif`, by recursion: what is
/// longer could run out of stack, and a thread without stack ends the process. So the engine sees no tag without an end, either.
const TAG_BYTES_MAX: usize = 512;
/// Brackets within each other.
const BRACKETS_MAX: usize = 16;
/// Conditions and loops within each other; a branch more is one within the branch before. The engine walks through them by
/// recursion, too.
const NESTING_MAX: usize = 50;

/// Why this template is refused, if it is.
pub(super) fn of(template: &str) -> Option<String> {
    let (mut rest, mut nesting) = (template, Nesting::default());
    while let Some(start) = rest.find('{') {
        let tag = &rest[start..];
        let (end, inside) = match tag.as_bytes().get(1) {
            Some(b'{') => ("}}", true),
            Some(b'%') => ("%}", true),
            Some(b'#') => ("#}", false),
            _ => {
                rest = &tag[1..];
                continue;
            }
        };
        let body = &tag[2..];
        let line = template[..template.len() - tag.len()].matches('\n').count() + 1;
        let length = if inside { end_of_tag(body, end) } else { body.find(end) };
        let Some(length) = length else { return Some(format!("line {line}: a tag has no end")) };
        let code = &body[..length];
        if end == "%}" && !nesting.takes(word(code)) {
            let most = NESTING_MAX;
            return Some(format!(
                "line {line}: more than {most} conditions, branches and loops within each other"
            ));
        }
        if inside && code.len() > TAG_BYTES_MAX {
            return Some(format!("line {line}: a tag has more than {TAG_BYTES_MAX} bytes"));
        }
        let refused = if inside { refused_code(code).or_else(|| refused_tag(code, end)) } else { None };
        if let Some(what) = refused {
            return Some(format!("line {line}: {what} is not offered in prompts"));
        }
        rest = &body[length + 2..];
    }
    None
}

/// The blocks that are open, each with its branches.
#[derive(Default)]
struct Nesting {
    open: Vec<usize>,
    depth: usize,
}

impl Nesting {
    /// One more tag; false if that is too deep.
    fn takes(&mut self, word: &str) -> bool {
        match word {
            "if" | "for" => {
                self.open.push(1);
                self.depth += 1;
            }
            "elif" => {
                if let Some(branches) = self.open.last_mut() {
                    *branches += 1;
                    self.depth += 1;
                }
            }
            "endif" | "endfor" => self.depth -= self.open.pop().unwrap_or_default(),
            _ => {}
        }
        self.depth <= NESTING_MAX
    }
}

/// Where the tag ends: outside of its texts in quotes.
fn end_of_tag(body: &str, end: &str) -> Option<usize> {
    let mut quote = None;
    let mut escaped = false;
    for (at, c) in body.char_indices() {
        match quote {
            Some(_) if escaped => escaped = false,
            Some(_) if c == '\\' => escaped = true,
            Some(open) if c == open => quote = None,
            Some(_) => {}
            None if c == '"' || c == '\'' => quote = Some(c),
            None if body[at..].starts_with(end) => return Some(at),
            None => {}
        }
    }
    None
}

/// An operator that builds values.
fn refused_code(code: &str) -> Option<String> {
    let (mut quote, mut escaped, mut before, mut brackets) = (None, false, ' ', 0_usize);
    // `{{-`, `{%+` and their like only trim what is around them.
    for c in code.trim_matches(['-', '+']).chars() {
        match quote {
            Some(_) if escaped => escaped = false,
            Some(_) if c == '\\' => escaped = true,
            Some(open) if c == open => quote = None,
            Some(_) => continue,
            None if c == '"' || c == '\'' => quote = Some(c),
            None if matches!(c, '~' | '+' | '*' | '{') => return Some(format!("the operator {c}")),
            None if matches!(c, '(' | '[') && brackets == BRACKETS_MAX => {
                return Some(format!("more than {BRACKETS_MAX} brackets within each other"));
            }
            None if c == '[' && !(before.is_alphanumeric() || matches!(before, '_' | ']' | ')')) => {
                return Some("a list".into());
            }
            None if matches!(c, '(' | '[') => brackets += 1,
            None if matches!(c, ')' | ']') => brackets = brackets.saturating_sub(1),
            None => {}
        }
        before = c;
    }
    None
}

/// What kind of tag it is.
fn word(code: &str) -> &str {
    let word = code.trim_start_matches(['-', '+']).split_whitespace().next().unwrap_or_default();
    word.trim_end_matches(['-', '+'])
}

fn refused_tag(code: &str, end: &str) -> Option<String> {
    let word = word(code);
    (end == "%}" && !TAGS.contains(&word)).then(|| format!("{{% {word:.32} %}}"))
}
