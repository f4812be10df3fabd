//! The callers of a bench, the same for ours and twin.

use crate::Result;
use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinSet;
use tokio::task::coop::consume_budget;

/// What an application would run on.
pub(crate) fn runtime() -> Result<Runtime> {
    Ok(Builder::new_multi_thread().enable_all().build()?)
}

/// Everything on the thread that waits for it.
pub(crate) fn one_thread() -> Result<Runtime> {
    Ok(Builder::new_current_thread().enable_all().build()?)
}

/// `callers` tasks make `messages` calls together. Each makes its next one when the last has
/// ended.
pub(crate) async fn call<C, F>(callers: u64, messages: u64, call: C) -> Result<()>
where
    C: Fn(u64) -> F + Clone + Send + 'static,
    F: Future<Output = Result<()>> + Send,
{
    let mut tasks: JoinSet<Result<()>> = JoinSet::new();
    for caller in 0..callers {
        let call = call.clone();
        tasks.spawn(async move {
            for number in (caller..messages).step_by(callers as usize) {
                call(number).await?;
                // A call that never waits must not keep the others from theirs.
                consume_budget().await;
            }
            Ok(())
        });
    }
    while let Some(ended) = tasks.join_next().await {
        ended??;
    }
    Ok(())
}
