//! State is purely the fold of the journal: a merge of facts that is commutative and idempotent.

mod attr;
mod facts;
mod item;
mod value;

pub use attr::Attr;
pub use facts::{Facts, Key, Line};
pub(crate) use item::VARS;
pub use item::{Death, EXTRAS, HEAD, Item, LINKS, Standing, TAIL};
pub use value::{Micros, Reg, Rule, Val};
