//! Steps with an optc optimizer on tch tensors.
