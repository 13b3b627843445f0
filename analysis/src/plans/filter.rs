//! A filter that chooses given configurations and no others.

use std::collections::BTreeMap;

/// A regular expression that matches these ids alone, as `bench` and `replicate` take it. What ids have
/// in common is written once: thousands of them in full are more than a command line can hold.
pub fn filter_for<'a>(ids: impl Iterator<Item = &'a str>) -> String {
    let mut all = Node::default();
    for id in ids {
        all.add(id);
    }
    // of no ids, what matches nothing
    if all.next.is_empty() { "^$".to_owned() } else { format!("^{}$", all.expression()) }
}

/// What may follow after some letters, and whether that may be nothing.
#[derive(Default)]
struct Node {
    is_end: bool,
    next: BTreeMap<char, Node>,
}

impl Node {
    fn add(&mut self, rest: &str) {
        let mut node = self;
        for letter in rest.chars() {
            node = node.next.entry(letter).or_default();
        }
        node.is_end = true;
    }

    fn expression(&self) -> String {
        let branch =
            |(letter, node): (&char, &Self)| format!("{}{}", escaped(*letter), node.expression());
        let branches: Vec<String> = self.next.iter().map(branch).collect();
        match (&branches[..], self.is_end) {
            ([], _) => String::new(),
            ([only], false) => only.clone(),
            (_, false) => format!("({})", branches.join("|")),
            (_, true) => format!("({})?", branches.join("|")),
        }
    }
}

fn escaped(letter: char) -> String {
    match letter {
        letter if letter.is_alphanumeric() || "_=/ ".contains(letter) => letter.to_string(),
        letter => format!("\\{letter}"),
    }
}
