//! Random histories: whatever clients do, and whenever the coordinator moves or its log refuses,
//! the invariants hold and nobody waits for ever.
