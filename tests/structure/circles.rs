//! Edges in, circles out: the nodes that reach each other, by Tarjan's strongly connected components.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
};

/// The components of more than one node, each sorted, the largest first.
pub(crate) fn circles(edges: impl IntoIterator<Item = (usize, usize)>) -> Vec<Vec<usize>> {
    let mut search = Search::default();
    for (from, to) in edges {
        search.next.entry(from).or_default().push(to);
        search.next.entry(to).or_default();
    }
    for node in search.next.keys().copied().collect::<Vec<_>>() {
        if !search.seen.contains_key(&node) {
            search.visit(node);
        }
    }
    search.found.sort_by_key(|circle| (Reverse(circle.len()), circle.clone()));
    search.found
}

/// The nodes that the edges lead to from one node, with the node itself.
pub(crate) fn reached(edges: &[(usize, usize)], from: usize) -> BTreeSet<usize> {
    let mut next: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    for (from, to) in edges {
        next.entry(*from).or_default().push(*to);
    }
    let (mut seen, mut open) = (BTreeSet::from([from]), vec![from]);
    while let Some(node) = open.pop() {
        open.extend(next.get(&node).into_iter().flatten().filter(|to| seen.insert(**to)));
    }
    seen
}

#[derive(Default)]
struct Search {
    next: BTreeMap<usize, Vec<usize>>,
    /// The number of each node in the order of visits.
    seen: BTreeMap<usize, usize>,
    stack: Vec<usize>,
    found: Vec<Vec<usize>>,
}

impl Search {
    fn visit(&mut self, node: usize) -> usize {
        let number = self.seen.len();
        self.seen.insert(node, number);
        self.stack.push(node);
        let mut low = number;
        for to in self.next[&node].clone() {
            match self.seen.get(&to) {
                None => low = low.min(self.visit(to)),
                Some(number) if self.stack.contains(&to) => low = low.min(*number),
                Some(_) => {}
            }
        }
        if low == number {
            let start = self.stack.iter().rposition(|open| *open == node).expect("the node is on the stack");
            let mut circle = self.stack.split_off(start);
            circle.sort_unstable();
            if circle.len() > 1 {
                self.found.push(circle);
            }
        }
        low
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn edges_without_a_way_back_make_no_circle() {
        assert_eq!(circles([(0, 1), (1, 2), (0, 2), (3, 2), (2, 2)]), [[0usize; 0]; 0]);
    }

    #[test]
    fn nodes_that_reach_each_other_around_corners_make_one_circle() {
        let edges = [(7, 1), (1, 2), (2, 3), (3, 1), (3, 4), (4, 5), (5, 4), (2, 6)];
        assert_eq!(circles(edges), [vec![1, 2, 3], vec![4, 5]]);
    }

    #[test]
    fn circles_that_share_a_node_are_one() {
        assert_eq!(circles([(1, 2), (2, 1), (2, 3), (3, 2)]), [[1, 2, 3]]);
    }

    #[test]
    fn node_with_edges_both_ways_reaches_only_what_they_lead_to() {
        assert_eq!(reached(&[(1, 2), (2, 3), (4, 2)], 2), BTreeSet::from([2, 3]));
    }
}
