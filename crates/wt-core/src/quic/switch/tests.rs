//! Batches as the system hands them over: which parts go where.

use std::net::Ipv4Addr;

use quinn::ConnectionIdGenerator;

use super::*;
use crate::quic::{Secrets, ids::Generator};

/// A socket that gives what it is given.
#[derive(Debug, Default)]
struct Given(Mutex<Vec<(Vec<u8>, usize)>>);

impl AsyncUdpSocket for Given {
    fn create_io_poller(self: Arc<Self>) -> Pin<Box<dyn UdpPoller>> {
        unimplemented!("nothing is sent")
    }

    fn try_send(&self, _: &Transmit<'_>) -> io::Result<()> {
        unimplemented!("nothing is sent")
    }

    fn poll_recv(
        &self,
        _: &mut Context<'_>,
        bufs: &mut [IoSliceMut<'_>],
        meta: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        let Some((bytes, stride)) = lock(&self.0).pop() else {
            return Poll::Pending;
        };
        bufs[0][..bytes.len()].copy_from_slice(&bytes);
        meta[0] = RecvMeta::default();
        meta[0].addr = (Ipv4Addr::LOCALHOST, 4433).into();
        (meta[0].len, meta[0].stride) = (bytes.len(), stride);
        Poll::Ready(Ok(1))
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok((Ipv4Addr::LOCALHOST, 0).into())
    }
}

/// A packet with a short header, for a connection of the process with this tag.
fn packet(ids: &mut dyn FnMut() -> [u8; 8], len: usize, mark: u8) -> Vec<u8> {
    let mut packet = vec![mark; len];
    packet[0] = 0x40;
    packet[1..9].copy_from_slice(&ids());
    packet
}

fn ids(secrets: Secrets, tag: Tag) -> impl FnMut() -> [u8; 8] {
    let mut generator = Generator::new(&secrets, tag);
    move || generator.generate_cid()[..].try_into().unwrap()
}

/// A process and two earlier ones, whose ends of the ways to them are in the hands of the test.
struct Line {
    given: Arc<Given>,
    switch: Switch,
    elders: Vec<UnixDatagram>,
    ids: Vec<Box<dyn FnMut() -> [u8; 8]>>,
}

fn line() -> Line {
    let secrets = Secrets::draw().unwrap();
    let (mut tags, mut ways, mut elders) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..3 {
        tags.push(Tag::draw(&tags).unwrap());
    }
    for tag in &tags[1..] {
        let (ours, theirs) = UnixDatagram::pair().unwrap();
        theirs.set_nonblocking(true).unwrap();
        ways.push(Elder {
            tag: *tag,
            channel: ours,
        });
        elders.push(theirs);
    }
    let given = Arc::new(Given::default());
    let switch = Switch::new(given.clone(), secrets.reader(), ways, true);
    let ids = tags
        .iter()
        .map(|tag| Box::new(ids(secrets, *tag)) as Box<_>);
    let ids = ids.collect();
    Line {
        given,
        switch,
        elders,
        ids,
    }
}

impl Line {
    /// Makes packets for these processes, the newest being 0, the last one shorter; lets the newest
    /// receive them at once, and returns them with what it keeps.
    fn receive(&mut self, owners: &[usize]) -> (Vec<Vec<u8>>, Vec<u8>) {
        let count = owners.len();
        let packets = (0_u8..).zip(owners).map(|(mark, owner)| {
            let len = if usize::from(mark) + 1 == count {
                700
            } else {
                1200
            };
            packet(&mut *self.ids[*owner], len, mark)
        });
        let packets: Vec<_> = packets.collect();
        lock(&self.given.0).push((packets.concat(), 1200));
        let kept = poll(&self.switch).unwrap();
        (packets, kept)
    }

    /// Returns what was passed on to an earlier process: the bytes of each message.
    fn passed(&self, elder: usize) -> Vec<Vec<u8>> {
        let mut messages = Vec::new();
        let mut bytes = vec![0; 1 << 16];
        while let Ok(len) = self.elders[elder].recv(&mut bytes) {
            let meta = passing::read(bytes[..HEADER].try_into().unwrap(), len - HEADER).unwrap();
            assert_eq!(meta.addr, (Ipv4Addr::LOCALHOST, 4433).into());
            assert_eq!(meta.stride, 1200);
            messages.push(bytes[HEADER..len].to_vec());
        }
        messages
    }
}

/// Receives once; `None` if there is nothing.
fn poll(switch: &Switch) -> Option<Vec<u8>> {
    let mut buffer = vec![0; 1 << 16];
    let mut meta = [RecvMeta::default()];
    let mut cx = Context::from_waker(Waker::noop());
    let mut bufs = [IoSliceMut::new(&mut buffer)];
    match switch.poll_recv(&mut cx, &mut bufs, &mut meta) {
        Poll::Ready(count) => {
            assert_eq!(count.unwrap(), 1);
            Some(buffer[..meta[0].len].to_vec())
        }
        Poll::Pending => None,
    }
}

#[test]
fn each_part_of_a_batch_goes_to_its_process() {
    let mut line = line();
    for owners in [
        &[0, 0, 0][..],
        &[1, 1, 1],
        &[0],
        &[2],
        &[0, 1, 0],
        &[1, 0, 1, 0, 2, 2, 0],
        &[2, 2, 1, 1, 0, 0, 1],
        &[0, 0, 2],
    ] {
        let (packets, kept) = line.receive(owners);
        let of = |process: usize| -> Vec<u8> {
            let own = packets
                .iter()
                .zip(owners)
                .filter(|(_, owner)| **owner == process);
            own.flat_map(|(packet, _)| packet.clone()).collect()
        };
        assert_eq!(kept, of(0), "{owners:?}");
        assert_eq!(line.passed(0).concat(), of(1), "{owners:?}");
        assert_eq!(line.passed(1).concat(), of(2), "{owners:?}");
    }
    assert_eq!(line.switch.counts(), (15, 0));
}

#[test]
fn what_belongs_together_is_passed_on_together() {
    let mut line = line();
    line.receive(&[1, 1, 1, 0, 1, 1]);
    let lens: Vec<_> = line.passed(0).iter().map(Vec::len).collect();
    assert_eq!(lens, [3600, 1900]);
}

#[test]
fn what_waits_for_an_earlier_process_is_bounded() {
    let mut line = line();
    // Nobody reads it.
    for _ in 0..10_000 {
        line.receive(&[1; 20]);
        if line.switch.counts().1 > 0 {
            break;
        }
    }
    let (passed, lost) = line.switch.counts();
    assert_eq!(lost, 20, "after {passed}");
    // The others get theirs.
    let (packets, kept) = line.receive(&[0, 2]);
    assert_eq!(
        (kept, line.passed(1)),
        (packets[0].clone(), vec![packets[1].clone()])
    );
    // Once it reads, it gets its own again.
    let waiting = line.passed(0).len() as u64 * 20;
    assert_eq!(waiting, passed);
    line.receive(&[1]);
    assert_eq!(line.passed(0).len(), 1);
}

#[test]
fn a_process_that_is_gone_is_forgotten() {
    let mut line = line();
    assert!(line.switch.probe());
    drop(line.elders.remove(0));
    let (packets, kept) = line.receive(&[1, 0]);
    assert_eq!(kept, packets[1]);
    // From now on its packets are for this process to answer: with a stateless reset.
    let (packets, kept) = line.receive(&[1, 0]);
    assert_eq!(kept, packets.concat());
    assert!(line.switch.probe(), "one is left");
    line.elders.clear();
    assert!(!line.switch.probe());
}

#[tokio::test]
async fn a_channel_takes_the_place_of_the_socket() {
    let line = line();
    let (ours, theirs) = UnixDatagram::pair().unwrap();
    assert!(poll(&line.switch).is_none());
    assert!(lock(&line.switch.state).waiting.is_some());
    ours.set_nonblocking(true).unwrap();
    line.switch
        .read_channel(tokio::net::UnixDatagram::from_std(ours).unwrap());
    assert!(lock(&line.switch.state).waiting.is_none(), "it was woken");

    lock(&line.given.0).push((vec![0x40; 100], 100));
    assert!(poll(&line.switch).is_none(), "the socket is another's");
    let mut meta = RecvMeta::default();
    (meta.len, meta.stride) = (3, 2);
    let mut message = passing::write(&meta).to_vec();
    message.extend(b"abc");
    // Neither a look whether somebody is there nor nonsense is a packet.
    theirs.send(b"").unwrap();
    theirs.send(b"nonsense").unwrap();
    theirs.send(&message).unwrap();
    let mut got = Vec::new();
    while got.is_empty() {
        tokio::task::yield_now().await;
        got = std::future::poll_fn(|cx| {
            let mut buffer = vec![0; 100];
            let mut meta = [RecvMeta::default()];
            let mut bufs = [IoSliceMut::new(&mut buffer)];
            let count = ready!(line.switch.poll_recv(cx, &mut bufs, &mut meta)).unwrap();
            assert_eq!(count, 1);
            Poll::Ready(buffer[..meta[0].len].to_vec())
        })
        .await;
    }
    assert_eq!(got, b"abc");
    line.switch.read_socket();
    assert_eq!(poll(&line.switch), Some(vec![0x40; 100]));
    line.switch.read_nothing();
    lock(&line.given.0).push((vec![0x40; 100], 100));
    assert!(poll(&line.switch).is_none());
}
