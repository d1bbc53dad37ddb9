//! A checkout in, the text out that `.ci/structure` prints.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::{Display, Write},
};

use super::{
    Checkout, ORDER, ORDER_EXCEPTIONS, PRINT_EXCEPTIONS, PROCESS_EXCEPTIONS, broken,
    circles::{circles, reached},
    counts::{Count, counts},
    graph::Graph,
    out_of_order, printing, starting_processes,
};

/// The edges between two nodes, with the names behind each.
type Edges = BTreeMap<(usize, usize), BTreeSet<String>>;

/// The circles of the import graph, with the edges and names that make them, and the counts.
pub(crate) fn page(checkout: &Checkout) -> String {
    let graph = &checkout.graph;
    let mut page = Page(String::new());
    let edges = product_edges(graph);
    let files = graph.tree.sources.len();
    page.line(0, format_args!("{files} files, {} edges without those of tests", edges.len()));
    page.list("unresolved paths", &graph.unresolved);
    page.0 += &circles_of_files(graph);
    page.list("edges of tests that close a circle", &closed_by_tests(graph, &edges));
    let (modules, edges) = module_edges(graph);
    page.circles("circles of top-level modules", &modules, &edges);
    page.list("differences between src and ORDER", &order_differences(&modules));
    let found = out_of_order(graph);
    for pair in broken(found.keys().cloned(), ORDER_EXCEPTIONS) {
        page.list(&format!("uses out of order: {pair}"), found.get(&pair).into_iter().flatten());
    }
    for Count { what, files } in counts(checkout) {
        page.list(&what, &files);
    }
    page.list("files outside of src/exec that start processes", &broken(starting_processes(graph), PROCESS_EXCEPTIONS));
    page.list("files outside of src/report that print", &broken(printing(graph), PRINT_EXCEPTIONS));
    page.0
}

/// The circles of files alone: their number, and the edges and names that make them.
pub(crate) fn circles_of_files(graph: &Graph) -> String {
    let files: Vec<&str> = graph.tree.sources.iter().map(|source| source.path.as_str()).collect();
    let mut page = Page(String::new());
    page.circles("circles of files", &files, &product_edges(graph));
    page.0
}

struct Page(String);

impl Page {
    fn line(&mut self, depth: usize, text: impl Display) {
        writeln!(self.0, "{:indent$}{text}", "", indent = 2 * depth).expect("a string takes all");
    }

    fn list<'a>(&mut self, what: &str, items: impl IntoIterator<Item = &'a String>) {
        let items: Vec<&String> = items.into_iter().collect();
        self.line(0, format_args!("{}: {what}", items.len()));
        items.iter().for_each(|item| self.line(1, item));
    }

    fn circles(&mut self, what: &str, names: &[&str], edges: &Edges) {
        let found = circles(edges.keys().copied());
        self.line(0, format_args!("{}: {what}", found.len()));
        for circle in &found {
            self.line(1, format_args!("circle of {}", circle.len()));
            for from in circle {
                self.line(2, names[*from]);
                for to in circle {
                    if let Some(because) = edges.get(&(*from, *to)) {
                        let because: Vec<&str> = because.iter().map(String::as_str).collect();
                        self.line(3, format_args!("-> {}: {}", names[*to], because.join(", ")));
                    }
                }
            }
        }
    }
}

fn product_edges(graph: &Graph) -> Edges {
    let mut edges = Edges::new();
    for naming in graph.namings.iter().filter(|naming| !naming.test && naming.from != naming.to) {
        edges.entry((naming.from, naming.to)).or_default().insert(naming.name.clone());
    }
    edges
}

/// The edges of tests whose end leads back to their start.
fn closed_by_tests(graph: &Graph, edges: &Edges) -> BTreeSet<String> {
    let product: Vec<(usize, usize)> = edges.keys().copied().collect();
    let tests = graph.namings.iter().filter(|naming| naming.test && naming.from != naming.to);
    let tests: BTreeSet<(usize, usize)> = tests.map(|naming| (naming.from, naming.to)).collect();
    let closing = tests
        .into_iter()
        .filter(|(from, to)| !edges.contains_key(&(*from, *to)) && reached(&product, *to).contains(from));
    closing.map(|(from, to)| format!("{} -> {}", graph.path(from), graph.path(to))).collect()
}

/// The top-level modules, and the edges between them, those of tests among them.
fn module_edges(graph: &Graph) -> (Vec<&str>, Edges) {
    let all: BTreeSet<&str> = (0..graph.tree.sources.len()).filter_map(|file| graph.top_level(file)).collect();
    let modules: Vec<&str> = all.into_iter().collect();
    let index = |file| modules.binary_search(&graph.top_level(file)?).ok();
    let mut edges = Edges::new();
    for naming in &graph.namings {
        if let (Some(from), Some(to)) = (index(naming.from), index(naming.to))
            && from != to
        {
            let because = format!("{} ({})", naming.name, graph.path(naming.from));
            edges.entry((from, to)).or_default().insert(because);
        }
    }
    (modules, edges)
}

/// The top-level modules that [`ORDER`] lacks, and those that only [`ORDER`] has.
pub(crate) fn order_differences(modules: &[&str]) -> Vec<String> {
    let missing = modules.iter().filter(|module| !ORDER.contains(module)).map(|module| format!("ORDER lacks {module}"));
    let gone = ORDER.iter().filter(|module| !modules.contains(module)).map(|module| format!("src has no {module}"));
    missing.chain(gone).collect()
}
