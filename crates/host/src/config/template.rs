use confique::{
    Config,
    meta::{Expr, Field, FieldKind, LeafKind, Meta},
};

/// The annotated example file: every key of `C` with its doc comment and, commented out, its default. A map section
/// (a leaf whose default is an empty map) shows its doc comment only, which should hold an example table.
///
/// confique has a generator of its own; it repeats each default in prose.
pub fn template<C: Config>() -> String {
    let mut out = String::new();
    comment(&mut out, C::META.doc);
    section(&mut out, &C::META, "");
    out
}

fn section(out: &mut String, meta: &Meta, path: &str) {
    for field in meta.fields.iter().filter(|field| !is_map(field)) {
        if let FieldKind::Leaf { kind, .. } = &field.kind {
            gap(out);
            comment(out, field.doc);
            out.push_str(&assignment(field.name, kind));
        }
    }
    for field in meta.fields.iter().filter(|field| is_map(field)) {
        gap(out);
        comment(out, field.doc);
    }
    for field in meta.fields {
        if let FieldKind::Nested { meta } = &field.kind {
            let path = if path.is_empty() { field.name.to_owned() } else { format!("{path}.{}", field.name) };
            gap(out);
            comment(out, if field.doc.is_empty() { meta.doc } else { field.doc });
            out.push_str(&format!("[{path}]\n"));
            section(out, meta, &path);
        }
    }
}

fn assignment(name: &str, kind: &LeafKind) -> String {
    match kind {
        LeafKind::Required { default: Some(default) } => {
            let value = toml::Value::try_from(default).map(|value| value.to_string()).unwrap_or_default();
            format!("#{name} = {value}\n")
        }
        LeafKind::Required { default: None } => format!("#{name} =  # required\n"),
        LeafKind::Optional => format!("#{name} =\n"),
    }
}

fn is_map(field: &Field) -> bool {
    matches!(field.kind, FieldKind::Leaf { kind: LeafKind::Required { default: Some(Expr::Map(&[])) }, .. })
}

fn comment(out: &mut String, lines: &[&str]) {
    for line in lines {
        out.push_str(&format!("#{line}\n"));
    }
}

/// An empty line, except at the top and right below a section's header.
fn gap(out: &mut String) {
    let below_header = out.lines().last().is_some_and(|line| line.starts_with('['));
    if !out.is_empty() && !below_header {
        out.push('\n');
    }
}
