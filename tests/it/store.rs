//! The store's promises, each one asked of both engines by the same test.

mod accept;
mod arrivals;
mod bed;
mod chain;
mod change;
mod conditions;
mod drills;
mod journal;
mod keep;
mod lanes;
mod lists;
mod mails;
mod random;
mod register;
mod reports;

/// Makes two tests of each function: one over SQLite, one over PostgreSQL.
macro_rules! on_both_engines {
    ($($name:ident),+ $(,)?) => {
        mod sqlite {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $name() {
                    let bed = crate::store::bed::Bed::sqlite();
                    super::$name(&bed).await;
                    bed.end().await;
                }
            )+
        }
        mod postgres {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $name() {
                    if let Some(bed) = crate::store::bed::Bed::postgres().await {
                        super::$name(&bed).await;
                        bed.end().await;
                    }
                }
            )+
        }
    };
}
pub(crate) use on_both_engines;
