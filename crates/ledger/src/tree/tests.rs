//! The tree against a naive recursive oracle and the well-known reference roots.

use proptest::prelude::*;

use super::*;

fn hex(text: &str) -> Vec<u8> {
    (0..text.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(text.get(at..at + 2).unwrap(), 16).unwrap())
        .collect()
}

fn naive(leaves: &[Hash]) -> Hash {
    match leaves {
        [] => Sha256::digest(b"").into(),
        [leaf] => *leaf,
        more => {
            let middle = usize::try_from(split(more.len() as u64)).unwrap();
            node_hash(&naive(&more[..middle]), &naive(&more[middle..]))
        }
    }
}

#[test]
fn reference_roots_of_certificate_transparency() {
    let leaves =
        ["", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f"];
    let roots = [
        "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
        "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
        "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
        "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
        "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
        "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
    ];
    let mut frontier = Frontier::empty();
    for (leaf, root) in leaves.iter().zip(roots) {
        frontier.push(leaf_hash(&hex(leaf)));
        assert_eq!(frontier.root().to_vec(), hex(root));
    }
}

fn built(size: u64) -> (Vec<Hash>, std::collections::HashMap<(u8, u64), Hash>, Frontier) {
    let leaves: Vec<_> = (0..size).map(|index| leaf_hash(&index.to_be_bytes())).collect();
    let mut frontier = Frontier::empty();
    let mut nodes = std::collections::HashMap::new();
    for leaf in &leaves {
        nodes.extend(frontier.push(*leaf).into_iter().map(|node| ((node.level, node.index), node.hash)));
    }
    (leaves, nodes, frontier)
}

fn folded(plan: &[Vec<NodeRef>], nodes: &std::collections::HashMap<(u8, u64), Hash>) -> Vec<Hash> {
    let fold = |group: &Vec<NodeRef>| {
        let hashes: Vec<_> = group.iter().map(|node| nodes[&(node.level, node.index)]).collect();
        fold_right(&hashes).unwrap()
    };
    plan.iter().map(fold).collect()
}

proptest! {
    #[test]
    fn proofs_verify_and_nothing_else_does(size in 1u64..600, pick in any::<u64>(), flip in any::<(usize, usize)>()) {
        let (leaves, nodes, frontier) = built(size);
        let root = frontier.root();
        prop_assert_eq!(root, naive(&leaves));
        let index = pick % size;
        let leaf = leaves[usize::try_from(index).unwrap()];
        let mut proof = folded(&inclusion_plan(index, size).unwrap(), &nodes);
        prop_assert!(verify_inclusion(&leaf, index, size, &proof, &root).is_ok());
        prop_assert!(verify_inclusion(&leaf, (index + 1) % size, size, &proof, &root).is_err() || size == 1);
        let old = pick % size + 1;
        let old_root = naive(&leaves[..usize::try_from(old).unwrap()]);
        let mut consistency = folded(&consistency_plan(old, size).unwrap(), &nodes);
        prop_assert!(verify_consistency(old, size, &old_root, &root, &consistency).is_ok());
        if !proof.is_empty() {
            let at = flip.0 % proof.len();
            proof[at][flip.1 % 32] ^= 1;
            prop_assert!(verify_inclusion(&leaf, index, size, &proof, &root).is_err());
        }
        if !consistency.is_empty() {
            let at = flip.0 % consistency.len();
            consistency[at][flip.1 % 32] ^= 1;
            prop_assert!(verify_consistency(old, size, &old_root, &root, &consistency).is_err());
        }
    }
}

#[test]
fn the_edges_are_refused() {
    assert_eq!(inclusion_plan(3, 3), Err(TreeError::Range));
    assert_eq!(consistency_plan(0, 3), Err(TreeError::Range));
    assert_eq!(consistency_plan(4, 3), Err(TreeError::Range));
    assert_eq!(Frontier::from_parts(3, vec![[0; 32]]), Err(TreeError::Frontier));
}
