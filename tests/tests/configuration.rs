//! A course's lessons on configuration and volumes, with the programs that it uses: a real redis that is configured by a
//! ConfigMap, and a web server whose pages lie in a volume.

#![allow(missing_docs, clippy::unwrap_used)]

use std::fs;
use std::net::SocketAddr;

use e2e::{Cluster, busybox, eventually, get, redis};

/// As Kubernetes' own tutorial has it.
const REDIS: &str = r#"
apiVersion: v1
kind: ConfigMap
metadata:
  name: example-redis-config
data:
  redis-config: |
    maxmemory 2mb
    maxmemory-policy allkeys-lru
---
apiVersion: v1
kind: Pod
metadata:
  name: redis
spec:
  containers:
  - name: redis
    image: redis:7
    command:
    - redis-server
    - "/redis-master/redis.conf"
    env:
    - name: MASTER
      value: "true"
    ports:
    - containerPort: 6379
    resources:
      limits:
        cpu: "0.1"
    volumeMounts:
    - mountPath: /redis-master-data
      name: data
    - mountPath: /redis-master
      name: config
  volumes:
    - name: data
      emptyDir: {}
    - name: config
      configMap:
        name: example-redis-config
        items:
        - key: redis-config
          path: redis.conf
"#;

const SECRET: &str = r#"
apiVersion: v1
kind: Pod
metadata:
  name: mypod
spec:
  terminationGracePeriodSeconds: 1
  containers:
  - name: mypod
    image: busybox:v1
    command: [sleep, "1000"]
    volumeMounts:
    - name: foo
      mountPath: "/etc/foo"
      readOnly: true
  volumes:
  - name: foo
    secret:
      secretName: mysecret
"#;

#[test]
fn redis_is_configured_and_a_secret_is_mounted() {
    let cluster = Cluster::up("config", 1);
    cluster.load(&[redis("redis:7"), busybox("busybox:v1")]);
    cluster.apply(REDIS);
    cluster.kubectl("wait --for=condition=Ready pod/redis --timeout=60s").ok();
    let asked = |setting: &str| cluster.kubectl(&format!("exec redis -- redis-cli CONFIG GET {setting}"));
    eventually("redis answers", 30, || {
        let said = asked("maxmemory");
        if said.code == 0 && said.out == "maxmemory\n2097152\n" { Ok(()) } else { Err(said.out + &said.err) }
    });
    assert_eq!(asked("maxmemory-policy").ok(), "maxmemory-policy\nallkeys-lru\n");

    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("username"), "admin").unwrap();
    fs::write(folder.path().join("password"), "1q2w3e").unwrap();
    let at = |name: &str| format!("--from-file={}", folder.path().join(name).display());
    let create = ["create", "secret", "generic", "mysecret", &at("username"), &at("password")];
    cluster.kubectl_words(&create).ok();
    cluster.apply(SECRET);
    cluster.kubectl("wait --for=condition=Ready pod/mypod --timeout=60s").ok();
    assert_eq!(cluster.kubectl("exec mypod -- cat /etc/foo/username /etc/foo/password").ok(), "admin1q2w3e");
    let written =
        cluster.kubectl_words(&["exec", "mypod", "--", "sh", "-c", "echo x > /etc/foo/new"]).refused();
    assert!(written.contains("Read-only file system"), "{written}");
}

/// A web server whose pages lie in a claim, behind a NodePort.
const HTTPD: &str = r#"
apiVersion: v1
kind: Pod
metadata: {name: NAME, labels: {app: NAME}}
spec:
  terminationGracePeriodSeconds: 1
  containers:
  - name: web
    image: busybox:v1
    command: [busybox, httpd, -f, -p, "80", -h, /usr/local/apache2/htdocs]
    ports: [{containerPort: 80}]
    volumeMounts: [{name: pages, mountPath: /usr/local/apache2/htdocs}]
  volumes: [{name: pages, persistentVolumeClaim: {claimName: NAME}}]
---
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: NAME}
spec:
  CLASS
  accessModes: [ReadWriteOnce]
  resources: {requests: {storage: 100Mi}}
---
apiVersion: v1
kind: Service
metadata: {name: NAME}
spec: {type: NodePort, selector: {app: NAME}, ports: [{port: 80}]}
"#;

#[test]
fn a_page_is_served_from_a_volume() {
    let (cluster, disk) = (Cluster::up("httpd", 1), tempfile::tempdir().unwrap());
    cluster.load(&[busybox("busybox:v1")]);
    let shows = |name: &str, page: &str| {
        let port = &cluster.json(&format!("get service {name}"))["spec"]["ports"][0]["nodePort"];
        let port = port.as_u64().and_then(|port| port.try_into().ok()).unwrap();
        eventually(&format!("{name} shows {page}"), 60, || {
            match get(SocketAddr::from((cluster.node_address(1), port)))? {
                body if body == page => Ok(()),
                body => Err(body),
            }
        });
    };
    fs::write(disk.path().join("index.html"), "made by hand").unwrap();
    cluster.apply(&format!(
        "{{apiVersion: v1, kind: PersistentVolume, metadata: {{name: static}}, spec: {{capacity: {{storage: 1Gi}}, \
         accessModes: [ReadWriteOnce], hostPath: {{path: {}}}}}}}",
        disk.path().display()
    ));
    cluster.apply(&HTTPD.replace("NAME", "static").replace("CLASS", "storageClassName: ''"));
    shows("static", "made by hand");

    cluster.apply(&HTTPD.replace("NAME", "dynamic").replace("CLASS", "storageClassName: standard"));
    cluster.kubectl("wait --for=condition=Ready pod/dynamic --timeout=60s").ok();
    let page = "echo -n made to order > /usr/local/apache2/htdocs/index.html";
    cluster.kubectl_words(&["exec", "dynamic", "--", "sh", "-c", page]).ok();
    shows("dynamic", "made to order");
    cluster.kubectl("delete pod dynamic --timeout=60s").ok();
    cluster.apply(&HTTPD.replace("NAME", "dynamic").replace("CLASS", "storageClassName: standard"));
    shows("dynamic", "made to order");
}
