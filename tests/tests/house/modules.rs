//! Crates as the modules in their `src`, and what these import from each other.

use std::collections::{BTreeMap, BTreeSet};

use super::source::Source;

/// A crate of the workspace.
pub struct Crate {
    /// Its folder.
    pub name: String,
    /// All of its files, in all folders.
    pub sources: Vec<Source>,
}

/// An import of one module by another one.
pub struct Import {
    /// The importer: a module, or the path of a file.
    pub from: String,
    /// The imported module.
    pub to: String,
    /// Path and line.
    pub place: String,
}

impl Crate {
    /// The crate in a folder.
    pub fn new(name: &str, sources: Vec<Source>) -> Self {
        Self {
            name: name.into(),
            sources,
        }
    }

    /// The files in `src`.
    pub fn source_folder(&self) -> impl Iterator<Item = &Source> {
        let folder = format!("{}/src/", self.name);
        let sources = self.sources.iter();
        sources.filter(move |source| source.path.starts_with(&folder))
    }

    /// Whether it is a program and not a library.
    pub fn is_program(&self) -> bool {
        let has = |name: &str| self.file(name).is_some();
        has("main.rs") && !has("lib.rs")
    }

    fn file(&self, name: &str) -> Option<&Source> {
        let path = format!("{}/src/{name}", self.name);
        self.sources.iter().find(|source| source.path == path)
    }

    /// The files that are modules or the root, each with its module path. Files in `bin` belong to
    /// other crates.
    fn modules(&self) -> impl Iterator<Item = (Vec<String>, &Source)> {
        let folder = format!("{}/src/", self.name);
        let modules = self.source_folder().map(move |source| {
            let path = source.path.strip_prefix(&folder).unwrap_or_default();
            let mut names: Vec<String> = path.split('/').map(str::to_owned).collect();
            let file = names.pop().unwrap_or_default();
            let name = file.trim_end_matches(".rs");
            if !(name == "mod" || names.is_empty() && ["lib", "main"].contains(&name)) {
                names.push(name.into());
            }
            (names, source)
        });
        modules.filter(|(names, _)| names.first().is_none_or(|first| first != "bin"))
    }

    /// The modules directly in `src`.
    fn top(&self) -> BTreeSet<String> {
        let names = self.modules();
        names
            .filter_map(|(names, _)| names.first().cloned())
            .collect()
    }

    /// All imports, by the modules directly in `src`. An import of something that the root itself
    /// defines has an empty name.
    fn imports(&self) -> Vec<Import> {
        let mut homes: BTreeMap<_, _> = self
            .top()
            .into_iter()
            .map(|name| (name.clone(), name))
            .collect();
        for (module, source) in self.modules() {
            let Some(home) = module.first() else { continue };
            let macros = source.exported_macros().into_iter();
            homes.extend(macros.map(|name| (name, home.clone())));
        }
        let mut found = Vec::new();
        for (module, source) in self.modules() {
            let Some(from) = module.first() else { continue };
            for import in source.imports(&module) {
                let first = import.path.first();
                let to = first.and_then(|first| homes.get(first)).cloned();
                found.push(Import {
                    from: from.clone(),
                    to: to.unwrap_or_default(),
                    place: format!("{}:{}", source.path, import.line),
                });
            }
        }
        found.retain(|import| import.from != import.to);
        found
    }

    /// The files that import what the root itself defines.
    pub fn imports_of_the_root(&self) -> Vec<Import> {
        let mut found = self.imports();
        found.retain(|import| import.to.is_empty());
        for import in &mut found {
            let path = import.place.split(':').next();
            import.from = path.unwrap_or_default().into();
        }
        found
    }

    /// The imports of modules that the root declares behind their importers.
    pub fn against_the_order(&self) -> Vec<Import> {
        let root = self.file("lib.rs").or(self.file("main.rs"));
        let order = root.map(Source::declared).unwrap_or_default();
        let place = |name: &str| order.iter().position(|declared| declared == name);
        let mut found = self.imports();
        found.retain(|import| !import.to.is_empty() && place(&import.from) < place(&import.to));
        found
    }

    /// The modules in `src` that import each other in a circle, and the imports that make it one.
    /// Unless `strict` is set, only modules that are folders count.
    pub fn circles(&self, strict: bool) -> (BTreeSet<String>, Vec<String>) {
        let inside =
            |source: &Source| source.path.matches('/').count() > self.name.matches('/').count() + 2;
        let folders: BTreeSet<_> = self
            .modules()
            .filter(|(_, source)| inside(source))
            .filter_map(|(names, _)| names.first().cloned())
            .collect();
        let mut imports = self.imports();
        imports.retain(|import| {
            let counts = |name: &String| strict || folders.contains(name);
            !import.to.is_empty() && counts(&import.from) && counts(&import.to)
        });
        let mut reached = BTreeMap::<_, BTreeSet<_>>::new();
        for import in &imports {
            reached.entry(&import.from).or_default().insert(&import.to);
        }
        // A module reaches whatever the modules that it imports reach.
        for through in self.top() {
            let Some(more) = reached.get(&through).cloned() else {
                continue;
            };
            for behind in reached
                .values_mut()
                .filter(|behind| behind.contains(&through))
            {
                behind.extend(&more);
            }
        }
        let leads =
            |from: &String, to: &String| reached.get(from).is_some_and(|all| all.contains(to));
        let circle = imports
            .iter()
            .filter(|import| leads(&import.to, &import.from));
        let mut edges = BTreeMap::new();
        for import in circle {
            edges
                .entry((&import.from, &import.to))
                .or_insert(&import.place);
        }
        let modules = edges.keys().map(|(from, _)| (*from).clone()).collect();
        let edges = edges.iter();
        let edges = edges.map(|((from, to), place)| format!("{from} -> {to} ({place})"));
        (modules, edges.collect())
    }
}
