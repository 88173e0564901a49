use super::*;

async fn end_of(tasks: Tasks) -> Option<String> {
    tasks.token().cancelled().await;
    tasks.stop_and_join(Duration::from_secs(1)).await.err().map(|error| format!("{error:#}"))
}

#[tokio::test]
async fn a_task_that_ends_early_stops_the_process() {
    let tasks = Tasks::new();
    tasks.spawn("watcher", async { Ok(()) });
    assert_eq!(end_of(tasks).await.as_deref(), Some("watcher: task ended though nothing asked it to"));
}

#[tokio::test]
async fn a_loop_is_cut_off_and_does_not_end_by_itself() {
    let tasks = Tasks::new();
    tasks.spawn_loop("sweeper", async { Ok(()) });
    assert_eq!(end_of(tasks).await.as_deref(), Some("sweeper: task ended though nothing asked it to"));

    let tasks = Tasks::new();
    tasks.spawn_loop("sweeper", async { panic!("ouch") });
    assert_eq!(end_of(tasks).await.as_deref(), Some("sweeper: task panicked: ouch"));

    let tasks = Tasks::new();
    tasks.spawn_loop("sweeper", std::future::pending());
    tasks.stop();
    tasks.stop_and_join(Duration::from_secs(1)).await.unwrap();
}

#[tokio::test]
async fn a_failed_or_panicked_task_stops_the_process_with_its_words() {
    let tasks = Tasks::new();
    tasks.spawn("watcher", async { anyhow::bail!("no ear") });
    assert_eq!(end_of(tasks).await.as_deref(), Some("watcher: no ear"));

    let tasks = Tasks::new();
    tasks.spawn("watcher", async { panic!("{}", "ouch") });
    assert_eq!(end_of(tasks).await.as_deref(), Some("watcher: task panicked: ouch"));
}

#[tokio::test]
async fn a_scoped_task_may_end_and_panic_alone() {
    let tasks = Tasks::new();
    tasks.spawn_scoped("connection", async {});
    tasks.spawn_scoped("connection", async { panic!("ouch") });
    assert_eq!(caught("worker", async { 1 }).await, Some(1));
    assert_eq!(caught("worker", async { panic!("ouch") }).await, None::<u8>);
    tokio::task::yield_now().await;
    assert!(!tasks.token().is_cancelled());
    assert!(tasks.stop_and_join(Duration::from_secs(1)).await.is_ok());
}

#[tokio::test]
async fn first_steps_come_while_the_tasks_run() {
    let tasks = Tasks::new();
    let order = Arc::new(Mutex::new(Vec::new()));
    let (stop, first, last) = (tasks.token(), Arc::clone(&order), Arc::clone(&order));
    let running = stop.clone();
    tasks.before_stop("finish", async move {
        tokio::task::yield_now().await;
        assert!(!running.is_cancelled());
        first.lock().push("finish");
    });
    tasks.spawn("worker", async move {
        stop.cancelled().await;
        last.lock().push("worker");
        Ok(())
    });
    tasks.stop_and_join(Duration::from_secs(1)).await.unwrap();
    assert_eq!(*order.lock(), ["finish", "worker"]);

    // What failed is past saving.
    let tasks = Tasks::new();
    tasks.before_stop("finish", std::future::pending());
    tasks.stop();
    tasks.stop_and_join(Duration::from_secs(1)).await.unwrap();
}

#[tokio::test]
async fn last_steps_come_after_the_tasks() {
    let tasks = Tasks::new();
    let order = Arc::new(Mutex::new(Vec::new()));
    let (stop, first, last) = (tasks.token(), Arc::clone(&order), Arc::clone(&order));
    tasks.at_end("release", async move { last.lock().push("release") });
    tasks.spawn("worker", async move {
        stop.cancelled().await;
        tokio::task::yield_now().await;
        first.lock().push("worker");
        Ok(())
    });
    tasks.stop_and_join(Duration::from_secs(1)).await.unwrap();
    assert_eq!(*order.lock(), ["worker", "release"]);
}
