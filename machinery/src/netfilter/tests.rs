use super::*;

#[test]
fn a_connection_is_read_from_its_attributes() {
    let tuple = |kind: u16, from: [u8; 4], from_port: u16, to: [u8; 4], to_port: u16| {
        let ip = [attribute(1, &from), attribute(2, &to)].concat();
        let ports = [
            attribute(1, &[17]),
            attribute(2, &from_port.to_be_bytes()),
            attribute(3, &to_port.to_be_bytes()),
        ]
        .concat();
        attribute(kind | NESTED, &[attribute(1 | NESTED, &ip), attribute(2 | NESTED, &ports)].concat())
    };
    let original = tuple(1, [192, 0, 2, 9], 5555, [10, 96, 0, 10], 53);
    let reply = tuple(2, [10, 244, 1, 2], 5353, [192, 0, 2, 9], 5555);
    let read = connection(&[original.clone(), reply].concat()).unwrap();
    let expected = Connection {
        key: original[4..].to_vec(),
        ..Connection::made_up(Protocol::Udp, ([10, 96, 0, 10].into(), 53), ([10, 244, 1, 2].into(), 5353))
    };
    assert_eq!(read, expected);
    assert_eq!(connection(&original), None, "no reply direction");
    assert_eq!(connection(&original[..original.len() - 9]), None, "cut off");
}
