//! What syn leaves as tokens: the arguments of macros and attributes.

use proc_macro2::{Delimiter, TokenStream, TokenTree};
use syn::{Expr, Pat, Token, parse::Parser, punctuated::Punctuated, visit::Visit};

use super::{tree::Space, walk::Walk};

/// The arguments of a call of the macro `name`.
pub(crate) fn call(walk: &mut Walk<'_>, name: &str, tokens: &TokenStream) {
    if name == "matches" && matches(walk, tokens) {
        return;
    }
    if !expressions(walk, tokens) && !statements(walk, tokens) {
        scan(walk, tokens);
    }
}

fn expressions(walk: &mut Walk<'_>, tokens: &TokenStream) -> bool {
    let list = Punctuated::<Expr, Token![,]>::parse_terminated.parse2(tokens.clone());
    // vec![value; count]
    let list = list.or_else(|_| {
        Punctuated::<Expr, Token![;]>::parse_terminated.parse2(tokens.clone()).map(|list| list.into_iter().collect())
    });
    let Ok(list) = list else { return false };
    for expr in &list {
        match expr {
            // format!("{name}", name = value)
            Expr::Assign(assign) if matches!(*assign.left, Expr::Path(_)) => walk.visit_expr(&assign.right),
            expr => walk.visit_expr(expr),
        }
    }
    true
}

fn statements(walk: &mut Walk<'_>, tokens: &TokenStream) -> bool {
    let Ok(statements) = syn::Block::parse_within.parse2(tokens.clone()) else { return false };
    let block = syn::Block { brace_token: syn::token::Brace::default(), stmts: statements };
    walk.visit_block(&block);
    true
}

fn matches(walk: &mut Walk<'_>, tokens: &TokenStream) -> bool {
    let parse = |input: syn::parse::ParseStream<'_>| {
        let value: Expr = input.parse()?;
        input.parse::<Token![,]>()?;
        let pattern = Pat::parse_multi_with_leading_vert(input)?;
        let guard = if input.parse::<Option<Token![if]>>()?.is_some() { Some(input.parse::<Expr>()?) } else { None };
        input.parse::<Option<Token![,]>>()?;
        Ok((value, pattern, guard))
    };
    let Ok((value, pattern, guard)) = parse.parse2(tokens.clone()) else { return false };
    walk.visit_expr(&value);
    walk.visit_pat(&pattern);
    if let Some(guard) = &guard {
        walk.visit_expr(guard);
    }
    true
}

/// The settings of attributes whose text is a path.
const PATHS: &[&str] = &[
    "default",
    "deserialize_with",
    "from",
    "into",
    "remote",
    "schema_with",
    "serialize_with",
    "skip_serializing_if",
    "try_from",
    "with",
];

pub(crate) fn attribute(walk: &mut Walk<'_>, attribute: &syn::Attribute) {
    let syn::Meta::List(list) = &attribute.meta else { return };
    if list.path.is_ident("cfg") || list.path.is_ident("allow") || list.path.is_ident("expect") {
        return;
    }
    let tokens: Vec<TokenTree> = list.tokens.clone().into_iter().collect();
    for window in tokens.windows(3) {
        if let [TokenTree::Ident(key), TokenTree::Punct(equals), TokenTree::Literal(text)] = window
            && equals.as_char() == '='
            && PATHS.contains(&key.to_string().as_str())
            && let Ok(text) = syn::parse2::<syn::LitStr>(TokenTree::Literal(text.clone()).into())
        {
            if let Ok(name) = text.parse::<syn::Ident>() {
                walk.name_if_known(&[name.to_string()], Space::Value);
            }
            if let Ok(tokens) = text.value().parse() {
                scan(walk, &tokens);
            }
        }
    }
    scan(walk, &list.tokens);
}

/// Finds the paths in tokens that are no Rust of their own: a name alone counts when it is called, or
/// when it is written as types and constants are.
fn scan(walk: &mut Walk<'_>, tokens: &TokenStream) {
    let tokens: Vec<TokenTree> = tokens.clone().into_iter().collect();
    let mut at = 0;
    while at < tokens.len() {
        match &tokens[at] {
            TokenTree::Ident(_) => at = path(walk, &tokens, at),
            TokenTree::Group(group) => {
                let parsed = match group.delimiter() {
                    Delimiter::Brace => statements(walk, &group.stream()),
                    _ => expressions(walk, &group.stream()),
                };
                if !parsed {
                    scan(walk, &group.stream());
                }
                at += 1;
            }
            _ => at += 1,
        }
    }
}

/// Reads the path that starts at `at`, and returns where it ends.
fn path(walk: &mut Walk<'_>, tokens: &[TokenTree], at: usize) -> usize {
    let is = |at: usize, c: char| matches!(tokens.get(at), Some(TokenTree::Punct(punct)) if punct.as_char() == c);
    let mut names = Vec::new();
    let mut end = at;
    while let Some(TokenTree::Ident(name)) = tokens.get(end) {
        names.push(name.to_string());
        end += 1;
        if !(is(end, ':') && is(end + 1, ':')) {
            break;
        }
        end += 2;
    }
    let before = |c| at > 0 && is(at - 1, c);
    let field = before('.') && !(at > 1 && is(at - 2, '.'));
    if field || (before('$') && names[0] != "crate") {
        return end;
    }
    let called =
        matches!(tokens.get(end), Some(TokenTree::Group(group)) if group.delimiter() == Delimiter::Parenthesis);
    let assigned = before('=') && !is(end, '=');
    let written_large = names[0].starts_with(char::is_uppercase);
    if is(end, '!') && !is(end + 1, '=') {
        walk.name(&names, Space::Macro);
    } else if names.len() > 1 || called || written_large || assigned {
        for space in [Space::Type, Space::Value] {
            walk.name_if_known(&names, space);
        }
    }
    end
}
