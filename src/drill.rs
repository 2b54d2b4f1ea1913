//! Drills: when one is due, what came of it, whether that is enough, and how it is told. Pure: every function takes the
//! time and what is known as values. Carrying a drill out, and keeping its runs, belongs to `app` and `store`.

pub mod grade;
pub mod page;
pub mod report;
pub mod schedule;

pub use grade::Rules;
pub use report::Report;
pub use schedule::Schedule;
