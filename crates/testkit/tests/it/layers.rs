//! The order of `mod` lines in each `lib.rs` is the layer order: nothing names a module above its own.

use std::{
    fs,
    path::{Path, PathBuf},
};

fn crates() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

#[test]
fn modules_name_only_the_layers_below_them() {
    let mut found = Vec::new();
    let mut looked_at = 0;
    for name in ["env", "engine", "isopach"] {
        let src = crates().join(name).join("src");
        let lib = fs::read_to_string(src.join("lib.rs")).unwrap();
        let (layers, exports) = (layers_of(&lib), exports_of(&code_of(&lib)));
        assert!(layers.len() >= 10, "{name}: the mod lines were found");
        for (level, layer) in layers.iter().enumerate() {
            for file in files_of(&src, layer) {
                let is_top = file.parent() == Some(&src);
                let code = code_of(&fs::read_to_string(&file).unwrap());
                for named in names_in(&code, is_top) {
                    looked_at += 1;
                    // What the root exports is its module's, by whatever path it is named.
                    let owner = exports.iter().find(|(export, _)| *export == named);
                    let named = owner.map_or(named, |(_, module)| module.clone());
                    if layers.iter().position(|other| *other == named).is_some_and(|other| other > level) {
                        found.push(format!("{}: {layer} names {named}, a layer above it", file.display()));
                    }
                }
            }
        }
    }
    assert!(looked_at > 300, "only {looked_at} names were found");
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn a_name_is_found_in_paths_groups_and_parents() {
    let code = "use crate::{a::X, b::{c, d}, e};\nlet f = crate::g::H; super::i::j(); // crate::k";

    let mut found = names_in(&code_of(code), true);
    found.sort();

    assert_eq!(found, ["a", "b", "e", "g", "i"]);
    assert_eq!(
        exports_of("pub use a::{B, c::D}; use x::Y; pub use e::F as G;"),
        [("B", "a"), ("c", "a"), ("D", "a"), ("F", "e"), ("as", "e"), ("G", "e")]
            .map(|(name, module)| (name.to_owned(), module.to_owned()))
    );
    assert!(has_unsafe("x = unsafe { y };") && !has_unsafe("#![deny(unsafe_code)] // unsafe"));
    assert_eq!(layers_of("//! mod x;\nmod a;\npub mod b;\n#[cfg(test)]\nmod t;\n"), ["a", "b"]);
}

/// Modules in the order of their `mod` lines, without those of tests.
fn layers_of(lib: &str) -> Vec<String> {
    let mut layers = Vec::new();
    let mut is_test = false;
    for line in lib.lines() {
        let module = line.strip_prefix("pub ").unwrap_or(line).strip_prefix("mod ");
        if let Some(name) = module.and_then(|rest| rest.strip_suffix(';'))
            && !is_test
        {
            layers.push(name.to_owned());
        }
        is_test = line.contains("cfg(test)");
    }
    layers
}

/// What the crate's root exports, and the module each name comes from.
fn exports_of(lib: &str) -> Vec<(String, String)> {
    let mut exports = Vec::new();
    for (at, _) in lib.match_indices("pub use ") {
        let rest = &lib[at + "pub use ".len()..];
        let Some((path, _)) = rest.split_once(';') else { continue };
        let module = identifier(path);
        let names = path.split(|c: char| !c.is_alphanumeric() && c != '_').filter(|name| !name.is_empty());
        exports.extend(names.skip(1).map(|name| (name.to_owned(), module.clone())));
    }
    exports
}

/// The files that hold unsafe code; ARCHITECTURE.md says why.
const UNSAFE: [&str; 12] = [
    "engine/src/memtable/blink/arena.rs",
    "engine/src/memtable/blink/cursor.rs",
    "engine/src/memtable/blink/node.rs",
    "engine/src/memtable/blink/record.rs",
    "engine/src/memtable/blink/tree.rs",
    "engine/src/prefetch.rs",
    "engine/src/table/block/once_bytes.rs",
    "engine/src/table/filter/lanes.rs",
    "env/src/memory.rs",
    "env/src/os/map.rs",
    "env/src/sync/spin.rs",
    "testkit/src/allocations.rs",
];

#[test]
fn unsafe_code_is_where_the_architecture_says() {
    let architecture = fs::read_to_string(crates().join("../ARCHITECTURE.md")).unwrap();
    for file in UNSAFE {
        assert!(architecture.contains(&format!("crates/{file}")), "ARCHITECTURE.md names {file}");
    }
    let mut found = Vec::new();
    for name in ["env", "engine", "isopach", "cli", "testkit"] {
        let mut open = vec![crates().join(name).join("src")];
        while let Some(path) = open.pop() {
            if path.is_dir() {
                open.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
            } else if has_unsafe(&fs::read_to_string(&path).unwrap()) {
                let inside = path.strip_prefix(crates()).unwrap();
                found.push(inside.to_str().unwrap().replace(std::path::MAIN_SEPARATOR, "/"));
            }
        }
    }
    found.sort();
    assert_eq!(found, UNSAFE);
}

/// Whether the code has a block, function, trait or implementation that is unsafe.
fn has_unsafe(text: &str) -> bool {
    let mut words = text.lines().flat_map(|line| {
        let code = line.split("//").next().unwrap_or_default();
        code.split(|c: char| !c.is_alphanumeric() && c != '_')
    });
    words.any(|word| word == "unsafe")
}

/// Files of a module, without its tests.
fn files_of(src: &Path, module: &str) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut open = vec![src.join(format!("{module}.rs")), src.join(module)];
    while let Some(path) = open.pop() {
        let is_tests = path.file_stem().is_some_and(|stem| stem == "tests");
        if path.is_dir() && !is_tests {
            open.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
        } else if path.is_file() && !is_tests {
            files.push(path);
        }
    }
    assert!(!files.is_empty(), "module {module} has files");
    files
}

/// Without comments, and without what follows the first part that is for tests only.
fn code_of(text: &str) -> String {
    let text = text.split("#[cfg(test)]\nmod tests").next().expect("a split has a first part");
    let line = |line: &str| line.split("//").next().unwrap_or_default().to_owned() + "\n";
    text.lines().map(line).collect()
}

/// First parts of paths that begin at the crate's root.
fn names_in(code: &str, is_top: bool) -> Vec<String> {
    let mut names = Vec::new();
    let roots: &[&str] = if is_top { &["crate::", "super::"] } else { &["crate::"] };
    for root in roots {
        for (at, _) in code.match_indices(root) {
            let rest = &code[at + root.len()..];
            match rest.strip_prefix('{') {
                Some(group) => names.extend(group_names(group)),
                None => names.push(identifier(rest)),
            }
        }
    }
    names
}

/// First parts of the paths of a group, whose opening brace was taken.
fn group_names(group: &str) -> Vec<String> {
    let mut names = Vec::new();
    let (mut depth, mut start) = (0, 0);
    for (at, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth > 0 => depth -= 1,
            ',' | '}' if depth == 0 => {
                names.push(identifier(group[start..at].trim_start()));
                start = at + 1;
                if c == '}' {
                    break;
                }
            }
            _ => {}
        }
    }
    names.retain(|name| !name.is_empty());
    names
}

fn identifier(text: &str) -> String {
    text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()
}
