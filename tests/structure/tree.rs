//! Files in, modules out: what each module of a crate defines and what it imports.

use std::{
    collections::BTreeMap,
    path::{Component, Path, PathBuf},
};

use proc_macro2::{TokenStream, TokenTree};
use syn::{Attribute, Item, UseTree, Visibility, ext::IdentExt};

pub(crate) type ModuleId = usize;
pub(crate) type ItemId = usize;
pub(crate) type FileId = usize;

/// The kinds of names that Rust keeps apart.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(crate) enum Space {
    Type,
    Value,
    Macro,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Kind {
    /// A struct, an enum, a union or the name of a type.
    Type,
    /// A struct that is also a value: a tuple or a unit.
    Constructor,
    Trait,
    Function,
    /// A const or a static.
    Constant,
    Macro,
}

impl Kind {
    fn is_in(self, space: Space) -> bool {
        match self {
            Self::Type | Self::Trait => space == Space::Type,
            Self::Constructor => space != Space::Macro,
            Self::Function | Self::Constant => space == Space::Value,
            Self::Macro => space == Space::Macro,
        }
    }
}

/// Something with a name, in the file that defines it.
#[derive(Debug)]
pub(crate) struct Definition {
    pub(crate) name: String,
    pub(crate) kind: Kind,
    pub(crate) file: FileId,
    /// The variants, when this is an enum.
    pub(crate) variants: Vec<String>,
}

/// One name that a `use` brings into a module.
#[derive(Clone, Debug)]
pub(crate) struct Import {
    pub(crate) path: Vec<String>,
    /// None for a glob and for `as _`.
    pub(crate) alias: Option<String>,
    pub(crate) glob: bool,
    pub(crate) private: bool,
}

#[derive(Debug, Default)]
pub(crate) struct Module {
    pub(crate) file: FileId,
    pub(crate) parent: Option<ModuleId>,
    /// The items of a function's body: what it does not have is looked for around it.
    pub(crate) block: bool,
    /// Compiled for tests only.
    pub(crate) test: bool,
    pub(crate) children: BTreeMap<String, ModuleId>,
    pub(crate) items: BTreeMap<String, Vec<(ItemId, bool)>>,
    pub(crate) imports: Vec<Import>,
}

impl Module {
    /// What the module itself defines by this name, and whether it is private.
    pub(crate) fn defines(&self, tree: &Tree, name: &str, space: Space) -> Option<(ItemId, bool)> {
        self.items.get(name)?.iter().copied().find(|(item, _)| tree.items[*item].kind.is_in(space))
    }
}

/// A source file.
#[derive(Debug)]
pub(crate) struct Source {
    /// Relative to the root of the checkout.
    pub(crate) path: String,
    pub(crate) module: ModuleId,
}

/// All modules of the library and of the program beside it.
#[derive(Debug, Default)]
pub(crate) struct Tree {
    pub(crate) sources: Vec<Source>,
    pub(crate) modules: Vec<Module>,
    pub(crate) items: Vec<Definition>,
    /// The macros that define items, by name.
    makers: BTreeMap<String, Kind>,
}

/// What gives the text of a file: the disk, or a test.
pub(crate) type Read<'a> = &'a dyn Fn(&Path) -> Option<String>;

/// The roots of the crate: the library's first.
const ROOTS: &[&str] = &["src/lib.rs", "src/main.rs"];

/// Reads the roots and every file that they lead to. The syntax comes apart from the tree: it is walked once.
pub(crate) fn read(read: Read<'_>) -> Result<(Tree, Vec<syn::File>), String> {
    let mut reader = Reader { read, tree: Tree::default(), syntax: BTreeMap::new() };
    for root in ROOTS {
        if read(Path::new(root)).is_some() {
            reader.file(Path::new(root), None, false)?;
        }
    }
    let Reader { mut tree, syntax, .. } = reader;
    if syntax.is_empty() {
        return Err(format!("{} are missing", ROOTS.join(" and ")));
    }
    for (file, syntax) in &syntax {
        tree.declare_made(*file, syntax);
    }
    Ok((tree, syntax.into_values().collect()))
}

struct Reader<'a> {
    read: Read<'a>,
    tree: Tree,
    syntax: BTreeMap<FileId, syn::File>,
}

impl Reader<'_> {
    fn file(&mut self, path: &Path, parent: Option<ModuleId>, test: bool) -> Result<ModuleId, String> {
        let text = (self.read)(path).ok_or_else(|| format!("{}: the file is missing", path.display()))?;
        let syntax = syn::parse_file(&text)
            .map_err(|error| format!("{}:{}: {error}", path.display(), error.span().start().line))?;
        let file = self.tree.sources.len();
        let module = self.tree.add(Module { file, parent, test, ..Module::default() });
        self.tree.sources.push(Source { path: path.to_string_lossy().into_owned(), module });
        let stem = path.file_stem().unwrap_or_default().to_string_lossy();
        let beside = path.parent().unwrap_or(Path::new(""));
        let below = if ["mod", "lib", "main"].contains(&&*stem) { beside.to_owned() } else { beside.join(&*stem) };
        self.items(&syntax.items, module, beside, &below)?;
        self.syntax.insert(file, syntax);
        Ok(module)
    }

    fn items(&mut self, items: &[Item], module: ModuleId, beside: &Path, below: &Path) -> Result<(), String> {
        self.tree.declare(items, module);
        for item in items {
            if let Item::Mod(item) = item {
                let child = self.submodule(item, module, beside, below)?;
                self.tree.modules[module].children.insert(item.ident.unraw().to_string(), child);
            }
        }
        Ok(())
    }

    fn submodule(
        &mut self,
        item: &syn::ItemMod,
        parent: ModuleId,
        beside: &Path,
        below: &Path,
    ) -> Result<ModuleId, String> {
        let name = item.ident.unraw().to_string();
        let test = self.tree.modules[parent].test || is_for_tests(&item.attrs);
        if let Some((_, items)) = &item.content {
            let file = self.tree.modules[parent].file;
            let module = self.tree.add(Module { file, parent: Some(parent), test, ..Module::default() });
            let inner = below.join(&name);
            self.items(items, module, &inner, &inner)?;
            return Ok(module);
        }
        let flat = below.join(format!("{name}.rs"));
        let path = match path_attribute(&item.attrs) {
            Some(path) => normal(&beside.join(path)),
            None if (self.read)(&flat).is_some() => flat,
            None => below.join(&name).join("mod.rs"),
        };
        if (self.read)(&path).is_none() {
            let declares = &self.tree.sources[self.tree.modules[parent].file].path;
            return Err(format!("{declares} declares {name}, which has no file"));
        }
        self.file(&path, Some(parent), test)
    }
}

impl Tree {
    pub(crate) fn add(&mut self, module: Module) -> ModuleId {
        self.modules.push(module);
        self.modules.len() - 1
    }

    /// Notes what `items` define and import in `module`.
    pub(crate) fn declare(&mut self, items: &[Item], module: ModuleId) {
        for item in items {
            match item {
                Item::Use(item) => {
                    let private = is_private(&item.vis);
                    imports(&item.tree, &mut Vec::new(), private, &mut self.modules[module].imports);
                }
                Item::ExternCrate(item) if item.ident == "self" => {
                    let alias = item.rename.as_ref().map(|(_, name)| name.to_string());
                    let path = vec!["crate".to_owned()];
                    self.modules[module].imports.push(Import { path, alias, glob: false, private: false });
                }
                Item::Struct(item) => {
                    let kind =
                        if matches!(item.fields, syn::Fields::Named(_)) { Kind::Type } else { Kind::Constructor };
                    self.define(module, &item.ident, kind, &item.vis);
                }
                Item::Enum(item) => {
                    self.define(module, &item.ident, Kind::Type, &item.vis);
                    let variants = item.variants.iter().map(|variant| variant.ident.unraw().to_string()).collect();
                    self.items.last_mut().expect("it was just defined").variants = variants;
                }
                Item::Union(item) => self.define(module, &item.ident, Kind::Type, &item.vis),
                Item::Type(item) => self.define(module, &item.ident, Kind::Type, &item.vis),
                Item::Trait(item) => self.define(module, &item.ident, Kind::Trait, &item.vis),
                Item::Fn(item) => self.define(module, &item.sig.ident, Kind::Function, &item.vis),
                Item::Const(item) => self.define(module, &item.ident, Kind::Constant, &item.vis),
                Item::Static(item) => self.define(module, &item.ident, Kind::Constant, &item.vis),
                Item::Macro(syn::ItemMacro { ident: Some(name), mac, .. }) => {
                    self.define(module, name, Kind::Macro, &Visibility::Inherited);
                    if let Some(kind) = makes(&mac.tokens) {
                        self.makers.insert(name.to_string(), kind);
                    }
                }
                _ => {}
            }
        }
    }

    fn define(&mut self, module: ModuleId, name: &syn::Ident, kind: Kind, vis: &Visibility) {
        let name = name.unraw().to_string();
        let file = self.modules[module].file;
        self.items.push(Definition { name: name.clone(), kind, file, variants: Vec::new() });
        self.modules[module].items.entry(name).or_default().push((self.items.len() - 1, is_private(vis)));
    }

    /// Notes the items that calls of the crate's own macros define: the first name that a call is given, and each name that is
    /// given a value by `=`.
    fn declare_made(&mut self, file: FileId, syntax: &syn::File) {
        let public = Visibility::Public(syn::token::Pub::default());
        for item in &syntax.items {
            let Item::Macro(syn::ItemMacro { ident: None, mac, .. }) = item else { continue };
            let maker = mac.path.segments.last().and_then(|name| self.makers.get(&name.ident.to_string()));
            let Some(kind) = maker.copied() else { continue };
            let tokens: Vec<TokenTree> = mac.tokens.clone().into_iter().collect();
            let mut first = true;
            for (at, token) in tokens.iter().enumerate() {
                let TokenTree::Ident(name) = token else { continue };
                let valued = matches!(tokens.get(at + 1), Some(TokenTree::Punct(sign)) if sign.as_char() == '=');
                if std::mem::take(&mut first) || valued {
                    self.define(self.sources[file].module, name, kind, &public);
                }
            }
        }
    }

    /// The module that `self` means.
    pub(crate) fn real(&self, module: ModuleId) -> ModuleId {
        let mut module = module;
        while self.modules[module].block {
            module = self.modules[module].parent.expect("a block is in a module");
        }
        module
    }

    pub(crate) fn root(&self, module: ModuleId) -> ModuleId {
        let mut module = module;
        while let Some(parent) = self.modules[module].parent {
            module = parent;
        }
        module
    }

    pub(crate) fn is_within(&self, module: ModuleId, ancestor: ModuleId) -> bool {
        let mut at = Some(module);
        while let Some(module) = at {
            if module == ancestor {
                return true;
            }
            at = self.modules[module].parent;
        }
        false
    }
}

/// What the body of a macro defines by a name that it is given.
fn makes(body: &TokenStream) -> Option<Kind> {
    let tokens: Vec<TokenTree> = body.clone().into_iter().collect();
    for (at, token) in tokens.iter().enumerate() {
        match token {
            TokenTree::Ident(word) if matches!(tokens.get(at + 1), Some(TokenTree::Punct(dollar)) if dollar.as_char() == '$') => {
                match word.to_string().as_str() {
                    "struct" => return Some(Kind::Constructor),
                    "enum" | "type" => return Some(Kind::Type),
                    "fn" => return Some(Kind::Function),
                    "const" | "static" => return Some(Kind::Constant),
                    _ => {}
                }
            }
            TokenTree::Group(group) => {
                if let Some(kind) = makes(&group.stream()) {
                    return Some(kind);
                }
            }
            _ => {}
        }
    }
    None
}

/// Flattens a `use`: one [`Import`] for each name.
pub(crate) fn imports(tree: &UseTree, prefix: &mut Vec<String>, private: bool, found: &mut Vec<Import>) {
    match tree {
        UseTree::Path(path) => {
            prefix.push(path.ident.unraw().to_string());
            imports(&path.tree, prefix, private, found);
            prefix.pop();
        }
        UseTree::Group(group) => group.items.iter().for_each(|tree| imports(tree, prefix, private, found)),
        UseTree::Glob(_) => found.push(Import { path: prefix.clone(), alias: None, glob: true, private }),
        UseTree::Name(name) => {
            let path = joined(prefix, &name.ident);
            let alias = path.last().cloned();
            found.push(Import { path, alias, glob: false, private });
        }
        UseTree::Rename(rename) => {
            let alias = Some(rename.rename.unraw().to_string()).filter(|name| name != "_");
            found.push(Import { path: joined(prefix, &rename.ident), alias, glob: false, private });
        }
    }
}

fn joined(prefix: &[String], name: &syn::Ident) -> Vec<String> {
    let mut path = prefix.to_vec();
    if name != "self" || path.is_empty() {
        path.push(name.unraw().to_string());
    }
    path
}

fn is_private(vis: &Visibility) -> bool {
    matches!(vis, Visibility::Inherited)
}

/// Whether an item has `#[cfg(test)]` or `#[test]`.
pub(crate) fn is_for_tests(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| match &attribute.meta {
        syn::Meta::List(list) if list.path.is_ident("cfg") => has_test(list.tokens.clone()),
        meta => meta.path().segments.last().is_some_and(|segment| segment.ident == "test"),
    })
}

fn has_test(tokens: TokenStream) -> bool {
    let mut negated = false;
    for token in tokens {
        match token {
            TokenTree::Ident(word) if word == "test" => return true,
            TokenTree::Ident(word) => negated = word == "not",
            TokenTree::Group(group) if !negated && has_test(group.stream()) => return true,
            _ => {}
        }
    }
    false
}

fn path_attribute(attributes: &[Attribute]) -> Option<String> {
    attributes.iter().find_map(|attribute| match &attribute.meta {
        syn::Meta::NameValue(pair) if pair.path.is_ident("path") => match &pair.value {
            syn::Expr::Lit(syn::ExprLit { lit: syn::Lit::Str(text), .. }) => Some(text.value()),
            _ => None,
        },
        _ => None,
    })
}

/// `a/../b` as `b`.
fn normal(path: &Path) -> PathBuf {
    let mut out = PathBuf::new();
    for part in path.components() {
        if part == Component::ParentDir {
            out.pop();
        } else {
            out.push(part);
        }
    }
    out
}
