//! Checks `docs/compliance.md` against the sources.
//!
//! The document has a table for each specification, a row for each rule:
//!
//! ```text
//! | Id | Rule | Module | Test | State |
//! ```
//!
//! The id is the table's prefix, the section and a number. Modules and items are paths in backticks,
//! `wt_proto::flow`; tests are links to their file that show their name as code. A rule that is met names a module, and
//! a test or how it is met by construction; one that is not, or that does not apply, says why.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use crate::setup;

/// Where the tables are.
const DOCUMENT: &str = "docs/compliance.md";

const COLUMNS: [&str; 5] = ["Id", "Rule", "Module", "Test", "State"];

/// What a test cell begins with when nothing could break the rule.
const BY_CONSTRUCTION: &str = "by construction";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Met,
    NotMet,
    NotApplicable,
}

/// A row of a table.
#[derive(Debug)]
struct Row<'a> {
    line: usize,
    id: &'a str,
    module: &'a str,
    test: &'a str,
    state: &'a str,
}

/// A table: a specification and its rules.
#[derive(Debug)]
struct Table<'a> {
    title: &'a str,
    rows: Vec<Row<'a>>,
}

/// Checks everything and prints how many rules are met.
pub(crate) fn run() -> Result<(), String> {
    println!("\n==> compliance: {DOCUMENT}");
    let root = setup::root();
    let text =
        fs::read_to_string(root.join(DOCUMENT)).map_err(|error| format!("{DOCUMENT}: {error}"))?;
    let tables = parse(&text)?;
    let faults = check(&tables, root);
    if !faults.is_empty() {
        return Err(format!("{DOCUMENT}:\n       {}", faults.join("\n       ")));
    }
    for table in &tables {
        let count = |wanted| {
            table
                .rows
                .iter()
                .filter(|row| row.state() == Some(wanted))
                .count()
        };
        println!(
            "    {:<32} {:>3} met, {:>2} not met, {:>3} not applicable",
            table.title,
            count(State::Met),
            count(State::NotMet),
            count(State::NotApplicable)
        );
    }
    Ok(())
}

/// Reads the tables of a document.
fn parse(text: &str) -> Result<Vec<Table<'_>>, String> {
    let mut tables = Vec::new();
    let mut title = "";
    let mut within = false;
    for (line, content) in (1..).zip(text.lines()) {
        if let Some(heading) = content.strip_prefix("## ") {
            title = heading;
        }
        let Some(cells) = cells(content) else {
            within = false;
            continue;
        };
        if cells == COLUMNS {
            tables.push(Table {
                title,
                rows: Vec::new(),
            });
            within = true;
        } else if within
            && !cells
                .iter()
                .all(|cell| cell.chars().all(|c| matches!(c, '-' | ':')))
        {
            let &[id, _, module, test, state] = &cells[..] else {
                return Err(format!("{DOCUMENT}:{line}: {} columns", cells.len()));
            };
            let row = Row {
                line,
                id,
                module,
                test,
                state,
            };
            if let Some(table) = tables.last_mut() {
                table.rows.push(row);
            }
        }
    }
    if tables.is_empty() {
        return Err(format!(
            "{DOCUMENT} has no table | {} |",
            COLUMNS.join(" | ")
        ));
    }
    Ok(tables)
}

/// The cells of a line of a table.
fn cells(line: &str) -> Option<Vec<&str>> {
    let inner = line.trim().strip_prefix('|')?.strip_suffix('|')?;
    Some(inner.split('|').map(str::trim).collect())
}

impl Row<'_> {
    fn state(&self) -> Option<State> {
        let (word, reason) = match self.state.split_once(": ") {
            Some((word, reason)) => (word, !reason.is_empty()),
            None => (self.state, false),
        };
        match (word, reason) {
            ("met", _) => Some(State::Met),
            ("not met", true) => Some(State::NotMet),
            ("n/a", true) => Some(State::NotApplicable),
            _ => None,
        }
    }
}

/// Names everything that is wrong.
fn check(tables: &[Table<'_>], root: &Path) -> Vec<String> {
    let mut faults = Vec::new();
    let mut ids = BTreeSet::new();
    for row in tables.iter().flat_map(|table| &table.rows) {
        let mut fault =
            |what: String| faults.push(format!("line {}, {}: {what}", row.line, row.id));
        if !is_id(row.id) {
            fault("an id is PREFIX-SECTION-NUMBER".to_owned());
        }
        if !ids.insert(row.id) {
            fault("this id is used twice".to_owned());
        }
        match row.state() {
            None => fault(format!(
                "`{}` is none of met, not met: WHY, n/a: WHY",
                row.state
            )),
            Some(State::Met) => {
                if ticked(row.module).is_empty() {
                    fault("met by no module".to_owned());
                }
                if links(row.test).is_empty() && !row.test.starts_with(BY_CONSTRUCTION) {
                    fault(format!(
                        "met, but no test shows it, and not `{BY_CONSTRUCTION}`"
                    ));
                }
            }
            Some(_) => {}
        }
        for module in ticked(row.module) {
            if !has_module(root, module) {
                fault(format!("there is no {module}"));
            }
        }
        for (name, file) in links(row.test) {
            match fs::read_to_string(root.join("docs").join(file)) {
                Err(_) => fault(format!("there is no file {file}")),
                Ok(source) if !has_test(&source, name) => {
                    fault(format!("there is no test {name} in {file}"));
                }
                Ok(_) => {}
            }
        }
    }
    faults
}

/// Whether the id is like `WT-5.6.2-1`.
fn is_id(id: &str) -> bool {
    let parts: Vec<&str> = id.split('-').collect();
    let &[prefix, section, number] = &parts[..] else {
        return false;
    };
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    !prefix.is_empty()
        && prefix
            .bytes()
            .all(|b| b.is_ascii_uppercase() || b.is_ascii_digit())
        && section.split('.').all(is_number)
        && is_number(number)
}

/// What stands in backticks.
fn ticked(cell: &str) -> Vec<&str> {
    cell.split('`').skip(1).step_by(2).collect()
}

/// The links that show code: the code and the target.
fn links(cell: &str) -> Vec<(&str, &str)> {
    let parts = cell.split("[`").skip(1);
    parts
        .filter_map(|part| {
            let (name, rest) = part.split_once("`](")?;
            Some((name, rest.split_once(')')?.0))
        })
        .collect()
}

/// Whether a source has a test of this name: a function under a test attribute, or an entry of a macro's list.
fn has_test(source: &str, name: &str) -> bool {
    let lines: Vec<&str> = source.lines().map(str::trim).collect();
    let head = format!("fn {name}(");
    let as_function = lines.iter().enumerate().any(|(at, line)| {
        let mut above = lines[..at]
            .iter()
            .rev()
            .take_while(|line| line.starts_with("#[") || line.starts_with("//"));
        line.contains(&head) && above.any(|line| line.starts_with("#[") && line.contains("test"))
    });
    // As the tests in Chromium are: `name = "case"`.
    let entry = format!("{name} = \"");
    let by_macro =
        source.contains("macro_rules!") && lines.iter().any(|line| line.starts_with(&entry));
    as_function || by_macro
}

/// Whether there is such a module, or an item of this name in the last module of the path or below it.
fn has_module(root: &Path, path: &str) -> bool {
    let mut segments = path.split("::");
    let Some(name) = segments.next() else {
        return false;
    };
    let mut folder = root.join("crates").join(name.replace('_', "-")).join("src");
    let Some(mut file) = first(&[folder.join("lib.rs"), folder.join("main.rs")]) else {
        return false;
    };
    // The sources that items are looked for in, once the path has left the modules.
    let mut sources = None;
    for segment in segments {
        let next = [
            folder.join(format!("{segment}.rs")),
            folder.join(segment).join("mod.rs"),
        ];
        if let Some(next) = first(&next).filter(|_| sources.is_none()) {
            file = next;
            folder = folder.join(segment);
            continue;
        }
        let sources = sources.get_or_insert_with(|| {
            let mut all = read(&folder);
            all.extend(fs::read_to_string(&file));
            all
        });
        if !sources.iter().any(|source| defines(source, segment)) {
            return false;
        }
    }
    true
}

/// The sources in a folder and below it, without those of tests.
fn read(folder: &Path) -> Vec<String> {
    let mut all = Vec::new();
    for path in fs::read_dir(folder)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path())
    {
        if path.file_stem().is_some_and(|stem| stem == "tests") {
            continue;
        }
        if path.is_dir() {
            all.extend(read(&path));
        } else {
            all.extend(fs::read_to_string(&path));
        }
    }
    all
}

fn first(candidates: &[PathBuf]) -> Option<PathBuf> {
    candidates.iter().find(|path| path.is_file()).cloned()
}

/// Whether a source defines an item of this name.
fn defines(source: &str, name: &str) -> bool {
    let kinds = [
        "fn", "struct", "enum", "trait", "const", "type", "mod", "static",
    ];
    kinds.iter().any(|kind| {
        let head = format!("{kind} {name}");
        source.match_indices(&head).any(|(at, _)| {
            let next = source[at + head.len()..].chars().next();
            !next.is_some_and(|c| c.is_alphanumeric() || c == '_')
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str = "## S\n| Id | Rule | Module | Test | State |\n|---|---|---|---|---|\n";

    /// The faults of a document of this one row, with this crate's own sources.
    fn faults(row: &str) -> Vec<String> {
        let text = format!("{HEAD}{row}\n");
        check(&parse(&text).unwrap(), setup::root())
    }

    #[test]
    fn the_document_is_in_order() {
        run().unwrap();
    }

    #[test]
    fn a_good_row_has_no_fault() {
        let module = "`wt_proto::flow::SendCredit`";
        let test = "[`a_good_row_has_no_fault`](../xtask/src/compliance.rs)";
        assert_eq!(
            faults(&format!("| A-1.2-3 | r | {module} | {test} | met |")),
            [""; 0]
        );
        assert_eq!(faults("| A-1-1 | r | | | n/a: no proxy |"), [""; 0]);
    }

    #[test]
    fn what_is_not_there_is_named() {
        for (row, word) in [
            (
                "| A-1-1 | r | `wt_proto::nothing` | by construction | met |",
                "wt_proto::nothing",
            ),
            (
                "| A-1-1 | r | `wt_proto::flow::Nothing` | by construction | met |",
                "Nothing",
            ),
            ("| A-1-1 | r | `wt_proto::flow` | | met |", "no test"),
            (
                "| A-1-1 | r | `wt_proto::flow` | [`x`](../xtask/src/x.rs) | met |",
                "no file",
            ),
            (
                "| A-1-1 | r | `wt_proto::flow` | [`read`](../xtask/src/compliance.rs) | met |",
                "no test read",
            ),
            (
                "| A-1-1 | r | `wt_proto::flow` | `a_test` | met |",
                "no test shows it",
            ),
            ("| A-1-1 | r | | | not met |", "none of"),
            ("| A1-1 | r | | | n/a: x |", "an id is"),
            (
                "| A-1-1 | r | | | n/a: x |\n| A-1-1 | r | | | n/a: x |",
                "twice",
            ),
        ] {
            let faults = faults(row).join("\n");
            assert!(faults.contains(word), "{row}: {faults}");
        }
    }

    #[test]
    fn a_row_with_a_column_too_many_is_refused() {
        assert!(parse(&format!("{HEAD}| a | b | c | d | e | f |\n")).is_err());
        assert!(parse("no table").is_err());
    }
}
