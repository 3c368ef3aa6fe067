//! Rust sources as rows of tokens. Comments and strings have no tokens inside; the bodies of macros
//! do, which a syntax tree would not show.

use std::fs;
use std::path::Path;

use proc_macro2::{Delimiter, Group, Ident, TokenStream, TokenTree};

/// A file of the workspace.
pub struct Source {
    /// Its path from the workspace's directory on.
    pub path: String,
    /// Its text.
    pub text: String,
    tokens: Vec<TokenTree>,
}

/// Some lines of a file.
#[derive(Debug, PartialEq, Eq)]
pub struct Piece {
    /// The function's name; empty for other pieces.
    pub name: String,
    /// Its first line, from 1 on.
    pub line: usize,
    /// Its length in lines; an assembly block counts as one.
    pub lines: usize,
}

/// A path that begins in the crate's root: `crate::disk::fat` is `["disk", "fat"]`.
#[derive(Debug, PartialEq, Eq)]
pub struct Import {
    /// Where it leads.
    pub path: Vec<String>,
    /// The line it is in, from 1 on.
    pub line: usize,
}

/// All Rust files below a directory of the workspace, in the order of their paths.
pub fn below(workspace: &Path, directory: &str) -> Vec<Source> {
    let mut found = Vec::new();
    let mut names: Vec<_> = fs::read_dir(workspace.join(directory))
        .unwrap_or_else(|error| panic!("{directory}: {error}"))
        .map(|entry| {
            entry
                .expect("an entry")
                .file_name()
                .into_string()
                .expect("UTF-8")
        })
        .collect();
    names.sort();
    for name in names {
        let path = format!("{directory}/{name}");
        let place = workspace.join(&path);
        if place.is_dir() && name != "target" {
            found.extend(below(workspace, &path));
        } else if name.ends_with(".rs") {
            let text = fs::read_to_string(&place).expect("UTF-8");
            found.push(Source::new(&path, &text));
        }
    }
    found
}

impl Source {
    /// A file with this text.
    pub fn new(path: &str, text: &str) -> Self {
        let tokens: TokenStream = text
            .parse()
            .unwrap_or_else(|error| panic!("{path}: {error}"));
        Self {
            path: path.into(),
            text: text.into(),
            tokens: tokens.into_iter().collect(),
        }
    }

    /// The functions that have a body.
    pub fn functions(&self) -> Vec<Piece> {
        let mut found = Vec::new();
        each_row(&self.tokens, &mut |row| {
            for (index, pair) in row.windows(2).enumerate() {
                let [TokenTree::Ident(word), TokenTree::Ident(name)] = pair else {
                    continue;
                };
                if word != "fn" {
                    continue;
                }
                if let Some(body) = body(&row[index..]) {
                    found.push(piece(&name.to_string(), word, body));
                }
            }
        });
        found
    }

    /// The unsafe blocks.
    pub fn unsafe_blocks(&self) -> Vec<Piece> {
        let mut found = Vec::new();
        each_row(&self.tokens, &mut |row| {
            for pair in row.windows(2) {
                if let [TokenTree::Ident(word), TokenTree::Group(body)] = pair
                    && word == "unsafe"
                    && body.delimiter() == Delimiter::Brace
                {
                    found.push(piece("", word, body));
                }
            }
        });
        found
    }

    /// Whether it has an attribute like `allow(unsafe_code)` or `forbid(unsafe_code)`.
    pub fn has_lint(&self, level: &str, lint: &str) -> bool {
        let mut found = false;
        each_row(&self.tokens, &mut |row| {
            for pair in row.windows(2) {
                if let [TokenTree::Ident(word), TokenTree::Group(names)] = pair {
                    let mut names = names.stream().into_iter();
                    found |= *word == level
                        && names.any(|name| matches!(name, TokenTree::Ident(name) if name == lint));
                }
            }
        });
        found
    }

    /// The modules that it declares, in their order.
    pub fn declared(&self) -> Vec<String> {
        let mut found = Vec::new();
        for words in self.tokens.windows(3) {
            if let [
                TokenTree::Ident(word),
                TokenTree::Ident(name),
                TokenTree::Punct(_),
            ] = words
                && word == "mod"
            {
                found.push(name.to_string());
            }
        }
        found
    }

    /// The macros that it exports, which are in the crate's root wherever they are written.
    pub fn exported_macros(&self) -> Vec<String> {
        let mut found = Vec::new();
        each_row(&self.tokens, &mut |row| {
            let mut exported = false;
            for words in row.windows(3) {
                match words {
                    [TokenTree::Punct(_), TokenTree::Group(attribute), _] => {
                        let text = attribute.stream().to_string();
                        exported |= text == "macro_export";
                    }
                    [
                        TokenTree::Ident(word),
                        TokenTree::Punct(_),
                        TokenTree::Ident(name),
                    ] if word == "macro_rules" => {
                        if exported {
                            found.push(name.to_string());
                        }
                        exported = false;
                    }
                    _ => {}
                }
            }
        });
        found
    }

    /// What this file, which is the module with this path, imports from its crate.
    pub fn imports(&self, module: &[String]) -> Vec<Import> {
        let mut found = Vec::new();
        imports(&self.tokens, module, &mut found);
        found
    }
}

/// Calls `each` with the tokens inside each pair of brackets, and with those outside of all
/// brackets.
fn each_row(row: &[TokenTree], each: &mut impl FnMut(&[TokenTree])) {
    each(row);
    for token in row {
        if let TokenTree::Group(group) = token {
            each_row(&inside(group), each);
        }
    }
}

fn inside(group: &Group) -> Vec<TokenTree> {
    group.stream().into_iter().collect()
}

/// The body of a function; `None`: it has none.
fn body(row: &[TokenTree]) -> Option<&Group> {
    let mut tokens = row.iter();
    tokens.find_map(|token| match token {
        TokenTree::Group(body) if body.delimiter() == Delimiter::Brace => Some(Some(body)),
        TokenTree::Punct(end) if end.as_char() == ';' => Some(None),
        _ => None,
    })?
}

fn piece(name: &str, first: &Ident, body: &Group) -> Piece {
    let line = first.span().start().line;
    let lines = body.span_close().end().line - line + 1;
    Piece {
        name: name.into(),
        line,
        lines: lines - assembly(&inside(body)),
    }
}

/// The number of lines by which assembly blocks are longer than one.
fn assembly(row: &[TokenTree]) -> usize {
    let mut more = 0;
    each_row(row, &mut |row| {
        for words in row.windows(3) {
            if let [
                TokenTree::Ident(name),
                TokenTree::Punct(_),
                TokenTree::Group(text),
            ] = words
                && ["asm", "naked_asm", "global_asm"]
                    .iter()
                    .any(|asm| name == asm)
            {
                more += text.span_close().end().line - name.span().start().line;
            }
        }
    });
    more
}

fn imports(row: &[TokenTree], module: &[String], found: &mut Vec<Import>) {
    let mut index = 0;
    while index < row.len() {
        match &row[index..] {
            [
                TokenTree::Ident(word),
                TokenTree::Ident(name),
                TokenTree::Group(body),
                ..,
            ] if word == "mod" => {
                let inner = [module, &[name.to_string()]].concat();
                imports(&inside(body), &inner, found);
                index += 2;
            }
            [TokenTree::Ident(word), rest @ ..] => {
                let base = match word.to_string().as_str() {
                    "crate" => Some(&module[..0]),
                    "self" => Some(module),
                    "super" => module.split_last().map(|(_, parent)| parent),
                    _ => None,
                };
                if let Some(base) = base
                    && starts_path(rest)
                {
                    follow(rest, base.to_vec(), word.span().start().line, found);
                }
            }
            [TokenTree::Group(group), ..] => imports(&inside(group), module, found),
            _ => {}
        }
        index += 1;
    }
}

fn starts_path(row: &[TokenTree]) -> bool {
    matches!(row, [TokenTree::Punct(one), TokenTree::Punct(two), ..]
        if one.as_char() == ':' && two.as_char() == ':')
}

/// Follows a path behind its first word, into each branch if it has several.
fn follow(row: &[TokenTree], mut path: Vec<String>, line: usize, found: &mut Vec<Import>) {
    match row {
        [_, _, TokenTree::Ident(name), rest @ ..] if starts_path(row) => {
            let line = name.span().start().line;
            match name.to_string().as_str() {
                "super" => drop(path.pop()),
                "self" => {}
                name => path.push(name.into()),
            }
            follow(rest, path, line, found);
        }
        [_, _, TokenTree::Group(branches), ..] if starts_path(row) => {
            let colons: Vec<_> = row[..2].to_vec();
            let branches = inside(branches);
            for branch in branches
                .split(|token| matches!(token, TokenTree::Punct(comma) if comma.as_char() == ','))
            {
                if !branch.is_empty() {
                    follow(&[&colons, branch].concat(), path.clone(), line, found);
                }
            }
        }
        _ => found.push(Import { path, line }),
    }
}
