//! The settings of a node, and the reason for each.

use std::fmt::Write;

use crate::node::{Listener, Node};

/// Kafka's log goes to the JVM's output, without the 300 lines that list every setting.
pub(crate) const LOG4J2: &str = "\
status=warn
appender.out.type=Console
appender.out.name=out
appender.out.layout.type=PatternLayout
appender.out.layout.pattern=%d{ISO8601} %-5p %c{1}: %m%n%throwable
logger.config.name=org.apache.kafka.common.config.AbstractConfig
logger.config.level=warn
rootLogger.level=info
rootLogger.appenderRef.out.ref=out
";

/// Returns the `server.properties` of a node. `controllers` are the controller ports of all nodes,
/// in the order of the nodes. The lines of `more` come last, so that they override the others.
pub(crate) fn server_properties(node: &Node, controllers: &[u16], more: &[(String, String)]) -> String {
    let voters = controllers
        .iter()
        .enumerate()
        .map(|(n, port)| format!("{}@127.0.0.1:{port}", n + 1))
        .collect::<Vec<_>>()
        .join(",");
    let replicas = controllers.len().min(3);
    let in_sync = if replicas == 3 { 2 } else { 1 };
    let further = |what: fn(&Listener) -> String| node.listeners.iter().map(what).collect::<String>();
    let listeners = further(|listener| format!(",{}://{}", listener.name, listener.addr));
    let advertised = further(|listener| format!(",{}://{}", listener.name, listener.advertised));
    let protocols = further(|listener| format!(",{}:PLAINTEXT", listener.name));
    let mut text = format!(
        "\
process.roles=broker,controller
node.id={id}
controller.quorum.voters={voters}
listeners=PLAINTEXT://{addr},CONTROLLER://127.0.0.1:{controller}{listeners}
advertised.listeners=PLAINTEXT://{addr}{advertised}
controller.listener.names=CONTROLLER
inter.broker.listener.name=PLAINTEXT
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT{protocols}
log.dirs={data}

# A topic exists only after an explicit request for it.
auto.create.topics.enable=false
default.replication.factor={replicas}
min.insync.replicas={in_sync}
offsets.topic.replication.factor={replicas}
transaction.state.log.replication.factor={replicas}
transaction.state.log.min.isr={in_sync}
share.coordinator.state.topic.replication.factor={replicas}
share.coordinator.state.topic.min.isr={in_sync}

# Small: few internal partitions, and 8 MB instead of 128 for the cleaner.
offsets.topic.num.partitions=8
transaction.state.log.num.partitions=4
share.coordinator.state.topic.num.partitions=4
log.cleaner.dedupe.buffer.size=8388608

# Quick: groups form at once, topics are created without lingering, and the controller declares a
# killed broker dead after 2 s (with the default of 9 s a restart takes 13.6 s instead of 4.4).
group.initial.rebalance.delay.ms=0
group.min.session.timeout.ms=1000
controller.quorum.append.linger.ms=1
broker.session.timeout.ms=2000
broker.heartbeat.interval.ms=300
",
        id = node.id,
        addr = node.addr,
        controller = controllers[node.id - 1],
        data = node.data().display(),
    );
    for (key, value) in more {
        // A write to a String cannot fail.
        let _ = writeln!(text, "{key}={value}");
    }
    text
}
