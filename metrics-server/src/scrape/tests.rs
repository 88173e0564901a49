use super::*;

#[test]
fn what_is_whole_is_read() {
    let at = |millis: i64| Timestamp::from_millisecond(millis).expect("is a time");
    let text = "# TYPE container_cpu_usage_seconds_total counter\n\
        container_cpu_usage_seconds_total{container=\"c\",namespace=\"n\",pod=\"p\"} 4.5 2000\n\
        container_memory_working_set_bytes{container=\"c\",namespace=\"n\",pod=\"p\"} 4096 2000\n\
        container_start_time_seconds{container=\"c\",namespace=\"n\",pod=\"p\"} 1.5\n\
        container_cpu_usage_seconds_total{container=\"half\",namespace=\"n\",pod=\"p\"} 1 2000\n\
        pod_cpu_usage_seconds_total{namespace=\"n\",pod=\"p\"} 9 2000\n\
        node_cpu_usage_seconds_total 10 \n\
        node_memory_working_set_bytes 8.192e3 2500\n\
        node_memory_working_set_bytes NaN\nnode_x{\nresource_scrape_error 0\n\n{}\n";
    let scrape = parse(text, at(3000));
    let node = Point { time: at(3000), started: None, cpu: 10.0, memory: 8192 };
    assert_eq!(scrape.node, Some(node));
    let point = Point { time: at(2000), started: Some(at(1500)), cpu: 4.5, memory: 4096 };
    let name = ("n".to_owned(), "p".to_owned(), "c".to_owned());
    assert_eq!(scrape.containers, [(name, point)].into());
}
