//! The syntax of a file in, what it names out: every path, with the names in scope around it.

use std::{collections::HashSet, mem};

use syn::{Item, ext::IdentExt, visit::Visit};

use super::{
    graph::{Foreign, Graph, Naming},
    names::Target,
    tokens,
    tree::{self, FileId, ItemId, Kind, ModuleId, Space},
};

/// The walk through one file.
pub(crate) struct Walk<'g> {
    graph: &'g mut Graph,
    file: FileId,
    module: ModuleId,
    test: bool,
    /// The variables and type parameters in scope, innermost last: such a name hides an item.
    names: Vec<HashSet<(Space, String)>>,
    /// What `Self` is.
    own: Option<ItemId>,
}

impl<'g> Walk<'g> {
    pub(crate) fn new(graph: &'g mut Graph, file: FileId) -> Self {
        let module = graph.tree.sources[file].module;
        let test = graph.tree.modules[module].test;
        Self { graph, file, module, test, names: vec![HashSet::new()], own: None }
    }

    fn within<T>(&mut self, body: impl FnOnce(&mut Self) -> T) -> T {
        self.names.push(HashSet::new());
        let result = body(self);
        self.names.pop();
        result
    }

    fn bind(&mut self, space: Space, name: &syn::Ident) {
        if let Some(names) = self.names.last_mut() {
            names.insert((space, name.unraw().to_string()));
        }
    }

    fn is_bound(&self, space: Space, name: &str) -> bool {
        let name = (space, name.to_owned());
        self.names.iter().any(|names| names.contains(&name))
    }

    /// Notes what `path` names.
    pub(crate) fn name(&mut self, path: &[String], space: Space) {
        match path {
            [] => {}
            [name] if self.is_bound(space, name) => {}
            [first, _, ..] if self.is_bound(Space::Type, first) => {}
            [own, rest @ ..] if own == "Self" => {
                if let (Some(item), Some(variant)) = (self.own, rest.first())
                    && self.graph.tree.items[item].variants.contains(variant)
                {
                    self.note(Target::Variant(item, variant.clone()));
                }
            }
            _ => match self.graph.tree.resolve(self.module, path, space) {
                Some(target) => self.note(target),
                None => self.report(path),
            },
        }
    }

    /// Notes what `path` names, where the tokens around it do not tell whether it is a path at all.
    pub(crate) fn name_if_known(&mut self, path: &[String], space: Space) {
        if self.graph.tree.resolve(self.module, path, space).is_some() {
            self.name(path, space);
        }
    }

    fn report(&mut self, path: &[String]) {
        let place = &self.graph.tree.sources[self.file].path;
        self.graph.unresolved.insert(format!("{place}: {}", path.join("::")));
    }

    fn note(&mut self, target: Target) {
        let (item, variant) = match target {
            Target::Module(_) => return,
            Target::Foreign(path) => {
                let path = path.join("::");
                self.graph.foreign.insert(Foreign { from: self.file, path, test: self.test });
                return;
            }
            Target::Item(item) => (item, None),
            Target::Variant(item, variant) => (item, Some(variant)),
        };
        let definition = &self.graph.tree.items[item];
        let name = match variant {
            Some(variant) => format!("{}::{variant}", definition.name),
            None => definition.name.clone(),
        };
        let naming = Naming { from: self.file, to: definition.file, name, test: self.test };
        self.graph.namings.insert(naming);
    }

    /// A single name in a pattern: a constant or variant where there is one by that name, else a new variable.
    fn pattern(&mut self, name: &syn::Ident) {
        let path = [name.unraw().to_string()];
        match self.graph.tree.resolve(self.module, &path, Space::Value) {
            Some(Target::Item(item))
                if matches!(self.graph.tree.items[item].kind, Kind::Constant | Kind::Constructor) =>
            {
                self.note(Target::Item(item));
            }
            Some(target @ Target::Variant(..)) => self.note(target),
            _ => self.bind(Space::Value, name),
        }
    }

    fn import(&mut self, item: &syn::ItemUse) {
        let mut found = Vec::new();
        tree::imports(&item.tree, &mut Vec::new(), true, &mut found);
        let public = !matches!(item.vis, syn::Visibility::Inherited);
        for import in found {
            let mut known = false;
            for space in [Space::Type, Space::Value, Space::Macro] {
                let Some(target) = self.graph.tree.resolve(self.module, &import.path, space) else { continue };
                known = true;
                match target {
                    Target::Foreign(mut path) if import.glob => {
                        path.push("*".to_owned());
                        self.note(Target::Foreign(path));
                    }
                    target if public && self.is_below(&target) => {}
                    target => self.note(target),
                }
            }
            if !known && !import.path.is_empty() {
                self.report(&import.path);
            }
        }
    }

    /// Whether a descendant of this module defines `target`: re-exporting that is no use of it.
    fn is_below(&self, target: &Target) -> bool {
        let (Target::Item(item) | Target::Variant(item, _)) = target else { return false };
        let tree = &self.graph.tree;
        let defined = tree.sources[tree.items[*item].file].module;
        tree.is_within(defined, tree.real(self.module))
    }

    /// Walks a block, whose items only the block sees.
    fn block(&mut self, block: &syn::Block) {
        let items: Vec<Item> = block
            .stmts
            .iter()
            .filter_map(|statement| match statement {
                syn::Stmt::Item(item) => Some(item.clone()),
                _ => None,
            })
            .collect();
        let outer = self.module;
        if !items.is_empty() {
            let (file, parent, test) = (self.file, Some(outer), self.test);
            let tree = &mut self.graph.tree;
            self.module = tree.add(tree::Module { file, parent, block: true, test, ..tree::Module::default() });
            tree.declare(&items, self.module);
        }
        self.within(|walk| syn::visit::visit_block(walk, block));
        self.module = outer;
    }

    /// Walks an item, which sees no local names around it.
    fn apart<T>(&mut self, body: impl FnOnce(&mut Self) -> T) -> T {
        let names = mem::replace(&mut self.names, vec![HashSet::new()]);
        let result = body(self);
        self.names = names;
        result
    }
}

pub(crate) fn segments(path: &syn::Path) -> Vec<String> {
    path.segments.iter().map(|segment| segment.ident.unraw().to_string()).collect()
}

impl<'ast> Visit<'ast> for Walk<'_> {
    fn visit_item(&mut self, item: &'ast Item) {
        let outer = self.test;
        self.test |= tree::is_for_tests(attributes(item));
        self.apart(|walk| syn::visit::visit_item(walk, item));
        self.test = outer;
    }

    fn visit_item_mod(&mut self, item: &'ast syn::ItemMod) {
        let Some((_, items)) = &item.content else { return };
        let outer = self.module;
        let name = item.ident.unraw().to_string();
        match self.graph.tree.modules[outer].children.get(&name) {
            Some(module) => self.module = *module,
            None => self.report(&["mod within a function".to_owned(), name]),
        }
        items.iter().for_each(|item| self.visit_item(item));
        self.module = outer;
    }

    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        self.import(item);
    }

    fn visit_item_extern_crate(&mut self, _: &'ast syn::ItemExternCrate) {}

    fn visit_item_impl(&mut self, item: &'ast syn::ItemImpl) {
        let outer = self.own.take();
        if let syn::Type::Path(own) = &*item.self_ty
            && let Some(Target::Item(item)) = self.graph.tree.resolve(self.module, &segments(&own.path), Space::Type)
        {
            self.own = Some(item);
        }
        syn::visit::visit_item_impl(self, item);
        self.own = outer;
    }

    fn visit_item_enum(&mut self, item: &'ast syn::ItemEnum) {
        let outer = self.own.take();
        let path = [item.ident.unraw().to_string()];
        if let Some(Target::Item(item)) = self.graph.tree.resolve(self.module, &path, Space::Type) {
            self.own = Some(item);
        }
        syn::visit::visit_item_enum(self, item);
        self.own = outer;
    }

    fn visit_impl_item_fn(&mut self, item: &'ast syn::ImplItemFn) {
        let outer = self.test;
        self.test |= tree::is_for_tests(&item.attrs);
        self.within(|walk| syn::visit::visit_impl_item_fn(walk, item));
        self.test = outer;
    }

    fn visit_trait_item_fn(&mut self, item: &'ast syn::TraitItemFn) {
        self.within(|walk| syn::visit::visit_trait_item_fn(walk, item));
    }

    fn visit_generics(&mut self, generics: &'ast syn::Generics) {
        for parameter in &generics.params {
            match parameter {
                syn::GenericParam::Type(parameter) => self.bind(Space::Type, &parameter.ident),
                syn::GenericParam::Const(parameter) => self.bind(Space::Value, &parameter.ident),
                _ => {}
            }
        }
        syn::visit::visit_generics(self, generics);
    }

    fn visit_block(&mut self, block: &'ast syn::Block) {
        self.block(block);
    }

    fn visit_local(&mut self, local: &'ast syn::Local) {
        if let Some(init) = &local.init {
            self.visit_local_init(init);
        }
        self.visit_pat(&local.pat);
    }

    fn visit_expr_let(&mut self, expr: &'ast syn::ExprLet) {
        self.visit_expr(&expr.expr);
        self.visit_pat(&expr.pat);
    }

    fn visit_expr_if(&mut self, expr: &'ast syn::ExprIf) {
        self.within(|walk| {
            walk.visit_expr(&expr.cond);
            walk.visit_block(&expr.then_branch);
        });
        if let Some((_, branch)) = &expr.else_branch {
            self.visit_expr(branch);
        }
    }

    fn visit_expr_while(&mut self, expr: &'ast syn::ExprWhile) {
        self.within(|walk| syn::visit::visit_expr_while(walk, expr));
    }

    fn visit_expr_for_loop(&mut self, expr: &'ast syn::ExprForLoop) {
        self.visit_expr(&expr.expr);
        self.within(|walk| {
            walk.visit_pat(&expr.pat);
            walk.visit_block(&expr.body);
        });
    }

    fn visit_expr_closure(&mut self, expr: &'ast syn::ExprClosure) {
        self.within(|walk| syn::visit::visit_expr_closure(walk, expr));
    }

    fn visit_arm(&mut self, arm: &'ast syn::Arm) {
        self.within(|walk| syn::visit::visit_arm(walk, arm));
    }

    fn visit_pat_ident(&mut self, pat: &'ast syn::PatIdent) {
        match &pat.subpat {
            None if pat.by_ref.is_none() && pat.mutability.is_none() => self.pattern(&pat.ident),
            None => self.bind(Space::Value, &pat.ident),
            Some((_, inner)) => {
                self.bind(Space::Value, &pat.ident);
                self.visit_pat(inner);
            }
        }
    }

    fn visit_expr_path(&mut self, expr: &'ast syn::ExprPath) {
        self.qualified(expr.qself.as_ref(), &expr.path, Space::Value);
    }

    fn visit_expr_struct(&mut self, expr: &'ast syn::ExprStruct) {
        self.qualified(expr.qself.as_ref(), &expr.path, Space::Type);
        expr.fields.iter().for_each(|field| self.visit_field_value(field));
        if let Some(rest) = &expr.rest {
            self.visit_expr(rest);
        }
    }

    fn visit_pat_struct(&mut self, pat: &'ast syn::PatStruct) {
        self.qualified(pat.qself.as_ref(), &pat.path, Space::Type);
        pat.fields.iter().for_each(|field| self.visit_field_pat(field));
    }

    fn visit_pat_tuple_struct(&mut self, pat: &'ast syn::PatTupleStruct) {
        self.qualified(pat.qself.as_ref(), &pat.path, Space::Value);
        pat.elems.iter().for_each(|pat| self.visit_pat(pat));
    }

    fn visit_type_path(&mut self, path: &'ast syn::TypePath) {
        self.qualified(path.qself.as_ref(), &path.path, Space::Type);
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        self.qualified(None, path, Space::Type);
    }

    fn visit_vis_restricted(&mut self, _: &'ast syn::VisRestricted) {}

    fn visit_attribute(&mut self, attribute: &'ast syn::Attribute) {
        tokens::attribute(self, attribute);
    }

    fn visit_macro(&mut self, call: &'ast syn::Macro) {
        self.name(&segments(&call.path), Space::Macro);
        let name = call.path.segments.last().map(|segment| segment.ident.to_string()).unwrap_or_default();
        self.within(|walk| tokens::call(walk, &name, &call.tokens));
    }
}

impl Walk<'_> {
    fn qualified(&mut self, qself: Option<&syn::QSelf>, path: &syn::Path, space: Space) {
        let names = segments(path);
        match qself {
            None => self.name(&names, space),
            Some(qself) => {
                self.visit_type(&qself.ty);
                // Of `<Type as Trait>::item` the trait alone is a path to resolve.
                self.name(&names[..qself.position], Space::Type);
            }
        }
        path.segments.iter().for_each(|segment| self.visit_path_arguments(&segment.arguments));
    }
}

pub(crate) fn attributes(item: &Item) -> &[syn::Attribute] {
    match item {
        Item::Const(item) => &item.attrs,
        Item::Enum(item) => &item.attrs,
        Item::Fn(item) => &item.attrs,
        Item::Impl(item) => &item.attrs,
        Item::Macro(item) => &item.attrs,
        Item::Mod(item) => &item.attrs,
        Item::Static(item) => &item.attrs,
        Item::Struct(item) => &item.attrs,
        Item::Trait(item) => &item.attrs,
        Item::Type(item) => &item.attrs,
        Item::Union(item) => &item.attrs,
        Item::Use(item) => &item.attrs,
        _ => &[],
    }
}
