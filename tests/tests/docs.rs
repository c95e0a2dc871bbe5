//! What the documentation says is there: tests that it names, files that it links, code that it shows.

#![allow(clippy::unwrap_used, reason = "a failed helper is a failed test")]

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The files with this extension in these directories, not below them.
fn files(extension: &str, directories: &[&str]) -> Vec<PathBuf> {
    let entries = directories
        .iter()
        .flat_map(|directory| fs::read_dir(root().join(directory)).unwrap());
    let mut found: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    found.retain(|path| path.extension().is_some_and(|found| found == extension));
    found.sort();
    assert!(!found.is_empty(), "no .{extension} in {directories:?}");
    found
}

fn pages() -> Vec<PathBuf> {
    files("md", &["", "docs", "docs/guide"])
}

/// A link in a page: what it shows and where it leads.
struct Link {
    page: PathBuf,
    text: String,
    target: String,
}

/// The inline links of all pages, code blocks left out.
fn links() -> Vec<Link> {
    let mut links = Vec::new();
    for page in pages() {
        let source = read(&page);
        let prose: String = source.split("```").step_by(2).collect();
        for (before, after) in prose.match_indices("](").map(|(at, _)| prose.split_at(at)) {
            let text = before.rsplit_once('[').map_or("", |(_, text)| text);
            let target = after[2..].split(')').next().unwrap_or_default();
            links.push(Link {
                page: page.clone(),
                text: text.to_owned(),
                target: target.to_owned(),
            });
        }
    }
    assert!(links.len() > 50, "only {} links found", links.len());
    links
}

impl Link {
    /// The file and the heading that a link within the project leads to.
    fn resolve(&self) -> Option<(PathBuf, Option<&str>)> {
        if self.target.contains("://") {
            return None;
        }
        let (path, heading) = match self.target.split_once('#') {
            Some((path, heading)) => (path, Some(heading)),
            None => (&self.target[..], None),
        };
        let file = match path {
            "" => self.page.clone(),
            path => self.page.parent().unwrap().join(path),
        };
        Some((file, heading))
    }

    /// The name of the test, where the link is to one: code that leads to a source file.
    fn test(&self) -> Option<&str> {
        let name = self.text.strip_prefix('`')?.strip_suffix('`')?;
        let word = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
        // An example is a program, and its name that of the file.
        let source = self.target.ends_with(".rs") && !self.target.contains("/examples/");
        (source && name.chars().all(word)).then_some(name)
    }
}

/// The name under which code hosts make a heading a target.
fn anchor(heading: &str) -> String {
    let heading = heading.trim_start_matches('#').trim().to_lowercase();
    let kept = heading
        .chars()
        .filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
    kept.map(|c| if c == ' ' { '-' } else { c }).collect()
}

#[test]
fn links_lead_somewhere() {
    let mut broken = Vec::new();
    for link in links() {
        let Some((file, heading)) = link.resolve() else {
            continue;
        };
        let found = match heading {
            None => file.exists(),
            Some(heading) => {
                file.is_file() && {
                    let text = read(&file);
                    let mut headings = text.lines().filter(|line| line.starts_with('#'));
                    headings.any(|line| anchor(line) == heading)
                }
            }
        };
        if !found {
            broken.push(format!("{}: {}", link.page.display(), link.target));
        }
    }
    assert!(broken.is_empty(), "{broken:#?}");
}

#[test]
fn tests_that_are_named_exist() {
    let mut missing = Vec::new();
    let mut seen = 0;
    for link in links() {
        let Some(name) = link.test() else { continue };
        seen += 1;
        let (file, _) = link.resolve().unwrap();
        let source = fs::read_to_string(&file).unwrap_or_default();
        // The cases in Chromium are made by a macro.
        let found = source.contains("#[test]") || source.contains("#[tokio::test");
        let names = [format!("fn {name}("), format!("    {name} = \"")];
        if !(found && names.iter().any(|name| source.contains(name))) {
            missing.push(format!(
                "{}: {name} in {}",
                link.page.display(),
                link.target
            ));
        }
    }
    assert!(seen > 50, "only {seen} tests named");
    assert!(missing.is_empty(), "{missing:#?}");
}

/// Lines without their indentation, so that code compares in any place.
fn flat(code: &str) -> String {
    let lines = code.lines().map(|line| {
        let line = line.trim_start();
        let doc = line
            .strip_prefix("//!")
            .or_else(|| line.strip_prefix("///"));
        doc.unwrap_or(line).trim()
    });
    let kept: Vec<&str> = lines.filter(|line| !line.is_empty()).collect();
    format!("\n{}\n", kept.join("\n"))
}

/// The files of Rust in all directories `src` below this one.
fn sources_below(directory: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources_below(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs")
            && path.components().any(|part| part.as_os_str() == "src")
        {
            found.push(path);
        }
    }
}

/// What pages show is part of a documentation example or of an example, so it compiles.
#[test]
fn code_that_is_shown_compiles() {
    let examples = files("rs", &["crates/wt/examples"]);
    let mut compiled: Vec<String> = examples.iter().map(|path| flat(&read(path))).collect();
    // In the sources of the crates, what the documentation shows is compiled as an example.
    let mut sources = Vec::new();
    sources_below(&root().join("crates"), &mut sources);
    compiled.extend(sources.iter().map(|path| {
        let text = read(path);
        let lines = text.lines().map(str::trim_start);
        let doc = lines.filter(|line| line.starts_with("//!") || line.starts_with("///"));
        flat(&doc.collect::<Vec<_>>().join("\n"))
    }));
    let mut shown = 0;
    for page in pages() {
        let text = read(&page);
        for block in text.split("```rust\n").skip(1) {
            shown += 1;
            let code = flat(block.split("```").next().unwrap());
            assert!(
                compiled.iter().any(|source| source.contains(&code)),
                "{}: not in the examples of the crate wt nor in the documentation of a crate:\n{code}",
                page.display()
            );
        }
    }
    assert!(shown >= 2, "no code found");
}

/// What the page about JavaScript shows is part of the example, which runs in a browser.
#[test]
fn javascript_that_is_shown_runs() {
    let page = flat(&read(&root().join("crates/wt/examples/web/index.html")));
    let text = read(&root().join("docs/guide/javascript.md"));
    let blocks: Vec<&str> = text.split("```js\n").skip(1).collect();
    assert!(!blocks.is_empty(), "no code found");
    for block in blocks {
        let code = flat(block.split("```").next().unwrap());
        assert!(page.contains(&code), "not in the example:\n{code}");
    }
}

/// The cells of the rows of a table whose first cell begins with `prefix`.
fn rows(page: &str, prefix: &str) -> Vec<Vec<String>> {
    let text = read(&root().join(page));
    let rows = text.lines().filter_map(|line| line.strip_prefix("| "));
    rows.filter(|row| row.starts_with(prefix))
        .map(|row| {
            row.split(" | ")
                .map(|cell| cell.trim_end_matches('|').trim().to_owned())
                .collect()
        })
        .collect()
}

#[test]
fn status_has_each_feature_once_and_a_test_for_what_is_done() {
    let rows = rows("docs/status.md", "F-");
    let ids: Vec<&str> = rows.iter().map(|row| &row[0][..]).collect();
    let expected: Vec<String> = (1..=305).map(|n| format!("F-{n:03}")).collect();
    assert_eq!(ids, expected);
    for row in &rows {
        let tested = row[3].contains(".rs)");
        match &row[2][..] {
            "done" => assert!(tested, "{} is done by no test", row[0]),
            "otherwise" => assert!(
                tested && row.len() > 4 && !row[4].is_empty(),
                "{} does not say why, or what there is instead",
                row[0]
            ),
            "partly" => assert!(
                row.len() > 4 && !row[4].is_empty(),
                "{} does not say what is missing",
                row[0]
            ),
            "open" => assert!(!tested, "{} is open and has a test", row[0]),
            state => panic!("{}: no such state: {state}", row[0]),
        }
    }
}

#[test]
fn limits_has_every_field_of_the_configuration() {
    let page = read(&root().join("docs/limits.md"));
    let mut missing = BTreeSet::new();
    for (file, prefix) in [
        ("limits", "limits"),
        ("session", "session"),
        ("transport", "transport"),
    ] {
        let source = read(&root().join(format!("crates/wt-core/src/config/{file}.rs")));
        // The first struct of the file is the configuration itself.
        let fields = source
            .split("\n}\n")
            .find(|item| item.contains("pub struct"))
            .unwrap();
        for field in fields
            .lines()
            .filter_map(|line| line.strip_prefix("    pub "))
        {
            let name = field.split(':').next().unwrap();
            let key = format!("`{prefix}.{name}`");
            if !page.contains(&key) {
                missing.insert(key);
            }
        }
    }
    assert!(missing.is_empty(), "not in docs/limits.md: {missing:?}");
}
