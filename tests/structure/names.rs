//! A path in, what it names out: through imports, re-exports and globs to the definition.

use super::tree::{Import, ItemId, ModuleId, Space, Tree};

/// What a path names.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Target {
    Module(ModuleId),
    Item(ItemId),
    /// A variant of an enum.
    Variant(ItemId, String),
    /// Something of another crate, as its full path.
    Foreign(Vec<String>),
}

/// The name by which the program beside the library names it.
const LIBRARY: &str = "hactl";
/// The library is read first.
const LIBRARY_ROOT: ModuleId = 0;

/// The imports that are being followed: one that leads back to itself names nothing.
type Followed = Vec<(ModuleId, usize, Space)>;

impl Tree {
    /// What `path` names when it is written in `module`.
    pub(crate) fn resolve(&self, module: ModuleId, path: &[String], space: Space) -> Option<Target> {
        self.follow(module, path, space, &mut Vec::new())
    }

    fn follow(&self, module: ModuleId, path: &[String], space: Space, followed: &mut Followed) -> Option<Target> {
        let (first, mut rest) = path.split_first()?;
        let real = self.real(module);
        let mut target = match first.as_str() {
            "crate" => Target::Module(self.root(module)),
            "self" => Target::Module(real),
            "super" => Target::Module(self.modules[real].parent?),
            name => {
                let space = if rest.is_empty() { space } else { Space::Type };
                match self.in_scope(module, name, space, followed) {
                    Some(target) => target,
                    None if name == LIBRARY => Target::Module(LIBRARY_ROOT),
                    None => return Some(Target::Foreign(path.to_vec())),
                }
            }
        };
        while let Some((name, after)) = rest.split_first() {
            target = match target {
                Target::Module(at) if name == "super" => Target::Module(self.modules[at].parent?),
                Target::Module(at) => {
                    let space = if after.is_empty() { space } else { Space::Type };
                    self.in_module(at, name, space, module, followed)?
                }
                Target::Item(item) if self.items[item].variants.contains(name) => Target::Variant(item, name.clone()),
                Target::Foreign(mut path) => {
                    path.extend(rest.iter().cloned());
                    return Some(Target::Foreign(path));
                }
                // An associated function or constant belongs to its type.
                found => return Some(found),
            };
            rest = after;
        }
        Some(target)
    }

    /// A name without a path: of the block, of the blocks around it, of the module; a macro also of the modules around.
    fn in_scope(&self, module: ModuleId, name: &str, space: Space, followed: &mut Followed) -> Option<Target> {
        let mut at = module;
        loop {
            if let Some(found) = self.in_module(at, name, space, module, followed) {
                return Some(found);
            }
            if !self.modules[at].block && space != Space::Macro {
                return None;
            }
            at = self.modules[at].parent?;
        }
    }

    /// A name of the module `at`, as far as the module `from` may see it.
    fn in_module(
        &self,
        at: ModuleId,
        name: &str,
        space: Space,
        from: ModuleId,
        followed: &mut Followed,
    ) -> Option<Target> {
        let module = &self.modules[at];
        let inside = self.is_within(from, at);
        if let Some((item, private)) = module.defines(self, name, space)
            && (!private || inside || space == Space::Macro)
        {
            return Some(Target::Item(item));
        }
        if space == Space::Type
            && let Some(child) = module.children.get(name)
        {
            return Some(Target::Module(*child));
        }
        let visible = |import: &Import| !import.private || inside;
        let named = module.imports.iter().enumerate().filter(|(_, import)| import.alias.as_deref() == Some(name));
        for (index, import) in named.filter(|(_, import)| visible(import)) {
            if let Some(found) = self.through(at, index, import, None, space, followed) {
                return Some(found);
            }
        }
        for (index, import) in module.imports.iter().enumerate().filter(|(_, import)| import.glob && visible(import)) {
            if let Some(found) = self.through(at, index, import, Some(name), space, followed) {
                return Some(found);
            }
        }
        None
    }

    /// What the import `index` of the module `at` brings by `name`, which is told for globs only.
    fn through(
        &self,
        at: ModuleId,
        index: usize,
        import: &Import,
        name: Option<&str>,
        space: Space,
        followed: &mut Followed,
    ) -> Option<Target> {
        if followed.contains(&(at, index, space)) {
            return None;
        }
        followed.push((at, index, space));
        let own_space = if name.is_some() { Space::Type } else { space };
        let found = match (self.follow(at, &import.path, own_space, followed), name) {
            (found, None) => found,
            (Some(Target::Module(module)), Some(name)) => self.in_module(module, name, space, at, followed),
            (Some(Target::Item(item)), Some(name)) if self.items[item].variants.iter().any(|own| own == name) => {
                Some(Target::Variant(item, name.to_owned()))
            }
            _ => None,
        };
        followed.pop();
        found
    }
}
