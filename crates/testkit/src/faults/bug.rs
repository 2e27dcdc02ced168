//! Bugs that could be in the program, as data: what would be written instead of what stands there, and the check that must
//! notice. They are planted into a copy of the sources ([`Mutant`](super::mutant::Mutant)), never into the program itself.

use std::{collections::BTreeMap, fs, path::Path};

use serde::Deserialize;

use super::{
    checks::CHECKS,
    fault::What,
    plan::Size,
    points::Point,
    run::{Aim, Patience},
};

/// What stands for the question whether the bug is switched on, in the text that replaces.
const SWITCH: &str = "{bug}";

/// A bug.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bug {
    /// The name of its file, and of its switch.
    #[serde(skip)]
    pub name: String,
    /// What was done, in a sentence.
    pub what: String,
    /// The check that must find it.
    pub found_by: String,
    /// Other bugs that hide it as long as they are not there: they are switched on with it.
    #[serde(default)]
    pub with: Vec<String>,
    /// What is written otherwise.
    pub edits: Vec<Edit>,
    /// The run that looks for it.
    #[serde(default)]
    run: Look,
}

/// A change to a file.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Edit {
    /// From the root of the workspace.
    pub file: String,
    /// What stands there, exactly once.
    pub find: String,
    /// What is written instead; `{bug}` asks whether the bug is switched on.
    pub replace: String,
}

/// A run, as far as it is not as usual.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Look {
    seed: u64,
    messages: u64,
    per_s: f64,
    users: usize,
    conversations: usize,
    workers: usize,
    kinds: Vec<String>,
    faults: usize,
    points: Vec<String>,
    slow: bool,
    /// How long clients insist, in seconds.
    insist_s: u64,
}

impl Default for Look {
    fn default() -> Self {
        let (kinds, points) = (Vec::new(), Vec::new());
        let (users, conversations) = (8, 3);
        Self {
            seed: 1,
            messages: 300,
            per_s: 40.0,
            users,
            conversations,
            workers: 1,
            kinds,
            faults: 0,
            points,
            slow: false,
            insist_s: 40,
        }
    }
}

impl Bug {
    /// Every bug of this folder, by name.
    ///
    /// # Panics
    /// If a file is no bug.
    pub fn all(folder: &Path) -> Vec<Self> {
        let mut bugs: Vec<_> =
            fs::read_dir(folder).expect("a folder of bugs").map(|it| it.unwrap().path()).collect();
        bugs.sort();
        bugs.iter().map(|path| Self::read(path)).collect()
    }

    fn read(path: &Path) -> Self {
        let text = fs::read_to_string(path).unwrap();
        let bug: Self = toml::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        Self { name: path.file_stem().unwrap().to_string_lossy().into_owned(), ..bug }
    }

    /// The names of all switches that must be on for it.
    pub fn switches(&self) -> String {
        let names = std::iter::once(&self.name).chain(&self.with);
        names.map(String::as_str).collect::<Vec<_>>().join(",")
    }

    /// The run that looks for it.
    ///
    /// # Panics
    /// If it names a kind of fault or a point that there is not.
    pub fn aim(&self) -> Aim {
        let look = &self.run;
        let kind = |name: &String| {
            let kind = What::ALL.into_iter().find(|what| what.name() == name);
            kind.unwrap_or_else(|| panic!("{}: there is no fault {name:?}", self.name))
        };
        let point = |name: &String| {
            let point = Point::ALL.iter().find(|point| format!("{point:?}") == *name);
            *point.unwrap_or_else(|| panic!("{}: there is no point {name:?}", self.name))
        };
        let kinds: Vec<_> = look.kinds.iter().map(kind).collect();
        let size = Size {
            seed: look.seed,
            turns: look.messages,
            per_s: look.per_s,
            users: look.users,
            talks: look.conversations,
            workers: look.workers,
            ingresses: 1,
            faults: look.faults,
            kinds: if kinds.is_empty() { What::ALL.to_vec() } else { kinds },
            ..Size::small()
        };
        let insistence = std::time::Duration::from_secs(look.insist_s);
        let patience = Patience { insistence, ..Patience::SHORT };
        Aim { size, points: look.points.iter().map(point).collect(), slow: look.slow, patience }
    }
}

/// The texts of all files that these bugs change, as they are with the bugs planted; `read` gives a file as it stands.
///
/// # Errors
/// Says of each edit that does not fit why not: what it looks for is not there, is there twice, or is another's as well.
pub fn planted(bugs: &[Bug], read: impl Fn(&str) -> String) -> Result<BTreeMap<String, String>, Vec<String>> {
    let mut edits: BTreeMap<&str, Vec<(&Bug, &Edit)>> = BTreeMap::new();
    for bug in bugs {
        bug.edits.iter().for_each(|edit| edits.entry(&edit.file).or_default().push((bug, edit)));
    }
    let mut wrong = Vec::new();
    wrong.extend(
        bugs.iter()
            .filter(|bug| CHECKS.iter().all(|check| check.name != bug.found_by))
            .map(|bug| format!("{}: there is no check {}", bug.name, bug.found_by)),
    );
    let mut changed = BTreeMap::new();
    for (file, edits) in edits {
        let text = read(file);
        match change(&text, &edits) {
            Ok(text) => _ = changed.insert(file.to_owned(), text),
            Err(reasons) => wrong.extend(reasons.into_iter().map(|reason| format!("{file}: {reason}"))),
        }
    }
    if wrong.is_empty() { Ok(changed) } else { Err(wrong) }
}

fn change(text: &str, edits: &[(&Bug, &Edit)]) -> Result<String, Vec<String>> {
    let (mut places, mut wrong) = (Vec::new(), Vec::new());
    for (bug, edit) in edits {
        let found: Vec<_> = text.match_indices(&edit.find).map(|(at, _)| at).collect();
        match found.as_slice() {
            [at] => places.push((*at, *bug, *edit)),
            _ => wrong.push(format!("{}: stands {} times: {:?}", bug.name, found.len(), edit.find)),
        }
    }
    places.sort_by_key(|(at, ..)| *at);
    let overlapping = places.windows(2).filter(|pair| pair[0].0 + pair[0].2.find.len() > pair[1].0);
    wrong.extend(overlapping.map(|pair| format!("{} and {} are one place", pair[0].1.name, pair[1].1.name)));
    if !wrong.is_empty() {
        return Err(wrong);
    }
    let (mut changed, mut from) = (String::with_capacity(2 * text.len()), 0);
    for (at, bug, edit) in places {
        changed.push_str(&text[from..at]);
        changed.push_str(&edit.replace.replace(SWITCH, &format!("crate::planted({:?})", bug.name)));
        from = at + edit.find.len();
    }
    changed.push_str(&text[from..]);
    Ok(changed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bug(name: &str, find: &str) -> Bug {
        let (find, replace) = (find.to_owned(), "if {bug} { 2 } else { 1 }".to_owned());
        Bug {
            name: name.into(),
            what: "it is wrong".into(),
            found_by: "I1".into(),
            with: vec!["other".into()],
            edits: vec![Edit { file: "crates/a/src/lib.rs".into(), find, replace }],
            run: Look::default(),
        }
    }

    #[test]
    fn bugs_are_planted_each_behind_its_switch() {
        let bugs = [bug("second", "two"), bug("first", "one")];
        let planted = planted(&bugs, |_| "one, two, three".to_owned()).unwrap();
        let switched = |name: &str| format!("if crate::planted({name:?}) {{ 2 }} else {{ 1 }}");
        let expected = format!("{}, {}, three", switched("first"), switched("second"));
        assert_eq!(planted["crates/a/src/lib.rs"], expected);
        assert_eq!(bugs[0].switches(), "second,other");
    }

    #[test]
    fn what_is_absent_or_ambiguous_or_anothers_is_refused() {
        let wrong = |finds: [&str; 2]| {
            let bugs = finds.map(|find| bug(find, find));
            planted(&bugs, |_| "one, two, two".to_owned()).unwrap_err().len()
        };
        assert_eq!(wrong(["three", "one"]), 1);
        assert_eq!(wrong(["two", "one"]), 1);
        assert_eq!(wrong(["one, t", ", two, two"]), 1, "they overlap");
        let unknown = Bug { found_by: "I99".into(), ..bug("one", "one") };
        assert_eq!(planted(&[unknown], |_| "one".to_owned()).unwrap_err().len(), 1);
    }
}
