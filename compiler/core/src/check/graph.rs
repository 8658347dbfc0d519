//! Depth-first order without recursion, for chains that users make as long as they like.

/// Nodes so that each comes after all it points to, and the circles.
pub(super) struct Order {
    pub(super) nodes: Vec<usize>,
    pub(super) circles: Vec<Circle>,
}

/// Nodes in a circle, the first again at the end, and the edge that closes it.
pub(super) struct Circle {
    pub(super) path: Vec<usize>,
    /// The node before the last, and which of its edges leads back.
    pub(super) closed_by: (usize, usize),
}

#[derive(Clone, Copy, PartialEq)]
enum Mark {
    New,
    Open,
    Done,
}

/// `edges[node]` are the nodes that `node` points to.
pub(super) fn order(edges: &[Vec<usize>]) -> Order {
    let mut marks = vec![Mark::New; edges.len()];
    let mut found = Order {
        nodes: Vec::new(),
        circles: Vec::new(),
    };
    for root in 0..edges.len() {
        if marks[root] == Mark::New {
            visit(root, edges, &mut marks, &mut found);
        }
    }
    found
}

fn visit(root: usize, edges: &[Vec<usize>], marks: &mut [Mark], found: &mut Order) {
    marks[root] = Mark::Open;
    let mut stack = vec![(root, 0)];
    while let Some((node, edge)) = stack.pop() {
        let Some(&target) = edges[node].get(edge) else {
            marks[node] = Mark::Done;
            found.nodes.push(node);
            continue;
        };
        stack.push((node, edge + 1));
        match marks[target] {
            Mark::New => {
                marks[target] = Mark::Open;
                stack.push((target, 0));
            }
            Mark::Open => found.circles.push(circle(&stack, target, (node, edge))),
            Mark::Done => {}
        }
    }
}

fn circle(stack: &[(usize, usize)], target: usize, closed_by: (usize, usize)) -> Circle {
    let open = stack.iter().map(|(node, _)| *node);
    let path = open
        .skip_while(|node| *node != target)
        .chain([target])
        .collect();
    Circle { path, closed_by }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_pointed_to_comes_first() {
        let found = order(&[vec![1, 2], vec![2], vec![], vec![0]]);
        assert_eq!(found.nodes, [2, 1, 0, 3]);
        assert!(found.circles.is_empty());
    }

    #[test]
    fn circles_are_named_from_their_first_node() {
        let found = order(&[vec![1], vec![2], vec![1]]);
        assert_eq!(found.circles[0].path, [1, 2, 1]);
        assert_eq!(found.circles[0].closed_by, (2, 0));
        assert_eq!(order(&[vec![0]]).circles[0].path, [0, 0]);
    }

    #[test]
    fn long_chains() {
        let edges: Vec<Vec<usize>> = (0..100_000)
            .map(|node| {
                if node < 99_999 {
                    vec![node + 1]
                } else {
                    vec![]
                }
            })
            .collect();
        assert_eq!(order(&edges).nodes.len(), 100_000);
    }
}
