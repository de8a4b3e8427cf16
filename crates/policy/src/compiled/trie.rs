//! Texts, and which of them another text starts with: found in one walk along that text.

/// Positions by the text that has to come first.
#[derive(Clone, Debug)]
pub(super) struct Trie {
    /// The first is the root; an index is all that links them, so that no depth is too deep.
    nodes: Vec<Node>,
}

#[derive(Clone, Debug, Default)]
struct Node {
    /// What leads here from the node above.
    label: Box<[u8]>,
    /// In order.
    positions: Vec<u32>,
    /// By the first byte of their labels, in order.
    children: Vec<(u8, u32)>,
}

impl Default for Trie {
    fn default() -> Self {
        Self { nodes: vec![Node::default()] }
    }
}

impl Trie {
    pub(super) fn is_empty(&self) -> bool {
        let [root] = self.nodes.as_slice() else { return false };
        root.positions.is_empty()
    }

    /// Adds a position, which must not be below one that the text has already.
    pub(super) fn insert(&mut self, text: &[u8], position: u32) {
        let (mut at, mut rest) = (0, text);
        while let Some(first) = rest.first() {
            let Some(node) = self.nodes.get(at) else { return };
            match node.children.binary_search_by_key(first, |(byte, _)| *byte) {
                Ok(found) => {
                    let Some((_, child)) = node.children.get(found) else { return };
                    at = *child as usize;
                    let shared = self.split(at, rest);
                    rest = rest.get(shared..).unwrap_or_default();
                }
                Err(place) => {
                    let child = self.push(Node { label: rest.into(), ..Node::default() });
                    if let Some(node) = self.nodes.get_mut(at) {
                        node.children.insert(place, (*first, child));
                    }
                    (at, rest) = (child as usize, &[]);
                }
            }
        }
        if let Some(node) = self.nodes.get_mut(at)
            && node.positions.last() != Some(&position)
        {
            node.positions.push(position);
        }
    }

    /// Calls with the positions of every text that `text` starts with.
    pub(super) fn visit(&self, text: impl IntoIterator<Item = u8>, mut found: impl FnMut(&[u32])) {
        let mut text = text.into_iter();
        let mut node = self.nodes.first();
        while let Some(Node { positions, children, .. }) = node {
            if !positions.is_empty() {
                found(positions);
            }
            if children.is_empty() {
                return;
            }
            let Some(first) = text.next() else { return };
            node = children
                .binary_search_by_key(&first, |(byte, _)| *byte)
                .ok()
                .and_then(|found| self.nodes.get(children.get(found)?.1 as usize))
                .filter(|child| child.label.iter().skip(1).all(|byte| text.next() == Some(*byte)));
        }
    }

    /// Gives back what was taken in reserve.
    pub(super) fn shrink(&mut self) {
        self.nodes.shrink_to_fit();
        for node in &mut self.nodes {
            node.positions.shrink_to_fit();
            node.children.shrink_to_fit();
        }
    }

    /// Cuts the label of a node where `text` leaves it; how much they share.
    fn split(&mut self, at: usize, text: &[u8]) -> usize {
        let Some(node) = self.nodes.get_mut(at) else { return 0 };
        let shared = node.label.iter().zip(text).take_while(|(one, other)| one == other).count();
        let (head, tail) = node.label.split_at(shared);
        let Some(first) = tail.first().copied() else { return shared };
        let (head, tail) = (head.into(), tail.into());
        let below = Node { label: tail, ..std::mem::take(node) };
        node.label = head;
        let below = self.push(below);
        if let Some(node) = self.nodes.get_mut(at) {
            node.children.push((first, below));
        }
        shared
    }

    fn push(&mut self, node: Node) -> u32 {
        // Four thousand million nodes do not fit into memory.
        let index = u32::try_from(self.nodes.len()).unwrap_or(u32::MAX);
        self.nodes.push(node);
        index
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_a_text_starts_with_is_found(
            texts in prop::collection::vec("[ab]{0,6}", 0..20), text in "[abc]{0,8}",
        ) {
            let mut trie = Trie::default();
            for (position, text) in (0..).zip(&texts) {
                trie.insert(text.as_bytes(), position);
            }
            trie.shrink();
            prop_assert_eq!(trie.is_empty(), texts.is_empty());
            let mut found = Vec::new();
            trie.visit(text.bytes(), |positions| {
                assert!(positions.is_sorted());
                found.extend_from_slice(positions);
            });
            found.sort_unstable();
            let expected = (0..).zip(&texts).filter(|(_, start)| text.starts_with(*start));
            prop_assert_eq!(found, expected.map(|(position, _)| position).collect::<Vec<u32>>());
        }
    }

    #[test]
    fn depth_costs_no_stack() {
        let deep = || {
            let mut trie = Trie::default();
            let text = [b'a'; 2_000];
            for (position, end) in (0..).zip(0..text.len()) {
                trie.insert(&text[..end], position);
            }
            let mut found = 0;
            trie.clone().visit(text, |positions| found += positions.len());
            assert_eq!(found, text.len());
        };
        let small = std::thread::Builder::new().stack_size(64 * 1024);
        small.spawn(deep).unwrap().join().unwrap();
    }
}
