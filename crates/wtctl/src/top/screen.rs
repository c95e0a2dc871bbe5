//! The picture on a terminal.

use std::io;

use crossterm::event::{Event, EventStream, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use futures_util::StreamExt;
use ratatui::{
    Frame,
    layout::{Constraint, Layout, Rect},
    style::{Color, Modifier, Style},
    text::{Line, Span},
    widgets::{Block, Paragraph, Sparkline, Wrap},
};
use tokio::sync::mpsc;
use wt::monitor::feed::Reading;

use super::{
    picture::{Link, Picture, REFUSED, gauge, loss, millis, rate},
    report::{alert_words, per_second, round_trips, steps, uptime},
    watch::Update,
};
use crate::{failure::Failure, stop::Stop, units};

const QUIET: Style = Style::new().add_modifier(Modifier::DIM);
const STRONG: Style = Style::new().add_modifier(Modifier::BOLD);

/// What was pressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Key {
    Leave,
    Hold,
    Other,
}

/// Shows updates until somebody leaves.
pub(super) async fn run(
    url: &str,
    updates: &mut mpsc::Receiver<Update>,
    stop: &mut Stop,
) -> Result<(), Failure> {
    let mut terminal = ratatui::try_init()
        .map_err(|error| Failure::during_work(format!("cannot use the terminal: {error}")))?;
    let shown = show(&mut terminal, url, updates, stop).await;
    ratatui::restore();
    shown.map_err(|error| Failure::during_work(format!("cannot draw on the terminal: {error}")))
}

async fn show(
    terminal: &mut ratatui::DefaultTerminal,
    url: &str,
    updates: &mut mpsc::Receiver<Update>,
    stop: &mut Stop,
) -> io::Result<()> {
    let mut picture = Picture::default();
    let mut keys = EventStream::new();
    let mut held = false;
    loop {
        if !held {
            terminal.draw(|frame| draw(frame, url, &picture))?;
        }
        tokio::select! {
            update = updates.recv() => match update {
                Some(update) => {
                    picture.take(update);
                    // What came with it is shown with it: the history comes in many lines.
                    while let Ok(update) = updates.try_recv() {
                        picture.take(update);
                    }
                }
                None => return Ok(()),
            },
            event = keys.next() => match event {
                Some(event) => match key(&event?) {
                    Key::Leave => return Ok(()),
                    Key::Hold => {
                        held = !held;
                        if held {
                            terminal.draw(|frame| {
                                draw(frame, url, &picture);
                                hold(frame);
                            })?;
                        }
                    }
                    Key::Other => {}
                },
                None => return Ok(()),
            },
            () = stop.asked() => return Ok(()),
        }
    }
}

fn key(event: &Event) -> Key {
    match event {
        Event::Key(KeyEvent {
            code,
            modifiers,
            kind: KeyEventKind::Press,
            ..
        }) => match code {
            KeyCode::Char('q') | KeyCode::Esc => Key::Leave,
            KeyCode::Char('c') if modifiers.contains(KeyModifiers::CONTROL) => Key::Leave,
            KeyCode::Char('p' | ' ') => Key::Hold,
            _ => Key::Other,
        },
        _ => Key::Other,
    }
}

fn hold(frame: &mut Frame<'_>) {
    let area = frame.area();
    let words = " held: p goes on ";
    let width = (words.len() as u16).min(area.width);
    let at = Rect::new(area.width - width, area.height.saturating_sub(1), width, 1);
    let style = Style::new().add_modifier(Modifier::REVERSED);
    frame.render_widget(Paragraph::new(words).style(style), at);
}

fn draw(frame: &mut Frame<'_>, url: &str, picture: &Picture) {
    let [head, body, foot] = Layout::vertical([
        Constraint::Length(2),
        Constraint::Min(1),
        Constraint::Length(1),
    ])
    .areas(frame.area());
    draw_head(frame, head, url, picture);
    let keys = Line::styled(" q leaves, p holds", QUIET);
    frame.render_widget(keys, foot);
    let Some(latest) = picture.latest() else {
        let words = Line::styled(" Waiting for the first sample", QUIET);
        frame.render_widget(words, body);
        return;
    };
    let [left, right] = if body.width < 76 {
        Layout::vertical([Constraint::Fill(3), Constraint::Fill(2)]).areas(body)
    } else {
        Layout::horizontal([Constraint::Fill(1), Constraint::Fill(1)]).areas(body)
    };
    draw_series(frame, left, picture, latest);
    // A small terminal has no room for alerts that are not there.
    let alerts = if latest.alerts.is_empty() { 3 } else { 8 };
    let [top, middle, bottom] = Layout::vertical([
        Constraint::Fill(1),
        Constraint::Length(5),
        Constraint::Length(alerts.min(right.height / 3)),
    ])
    .areas(right);
    draw_round_trips(frame, top, latest);
    draw_drops(frame, middle, latest);
    draw_alerts(frame, bottom, latest);
}

fn draw_head(frame: &mut Frame<'_>, area: Rect, url: &str, picture: &Picture) {
    let hello = picture.hello.as_ref();
    let name = hello.map_or_else(
        || url.to_owned(),
        |hello| format!("{} {}", hello.kind, hello.id),
    );
    let mut first = vec![Span::raw(" "), Span::styled(name, STRONG)];
    if let Some(latest) = picture.latest() {
        first.push(format!("  up {}", uptime(latest)).into());
    }
    let (words, style) = match &picture.link {
        Link::Live => ("connected".to_owned(), Style::new().fg(Color::Green)),
        Link::Connecting => ("connecting".to_owned(), Style::new().fg(Color::Yellow)),
        Link::Lost { why, again_in } => (
            format!("disconnected, reconnecting in {again_in} s: {why}"),
            Style::new().fg(Color::Red),
        ),
    };
    first.push("  ".into());
    first.push(Span::styled(words, style));
    let health = picture.latest().and_then(|latest| latest.health.as_ref());
    let second = health.map_or_else(Line::default, |health| {
        let colour = match &health.status[..] {
            "healthy" => Style::new().fg(Color::Green),
            "degraded" => Style::new().fg(Color::Yellow),
            "unhealthy" => Style::new().fg(Color::Red),
            _ => QUIET,
        };
        Line::from(vec![
            Span::raw(" "),
            Span::styled(health.status.clone(), colour.add_modifier(Modifier::BOLD)),
            format!("  {}", health.reason).into(),
        ])
    });
    frame.render_widget(Paragraph::new(vec![first.into(), second]), area);
}

/// One figure over time.
struct Series {
    name: &'static str,
    now: String,
    /// What the highest bar stands for.
    peak: String,
    values: Vec<f64>,
    colour: Color,
}

fn draw_series(frame: &mut Frame<'_>, area: Rect, picture: &Picture, latest: &Reading) {
    // As many samples as there is room for are shown, and the peak is theirs.
    let room = usize::from(area.width.saturating_sub(2));
    let shown = |value: &dyn Fn(&Reading) -> Option<f64>| {
        let mut values = picture.series(value);
        values.drain(..values.len().saturating_sub(room));
        values
    };
    let make =
        |name, colour, value: &dyn Fn(&Reading) -> Option<f64>, words: &dyn Fn(f64) -> String| {
            let values = shown(value);
            let peak = values.iter().copied().fold(0.0, f64::max);
            Series {
                name,
                now: value(latest).map_or_else(|| "–".to_owned(), words),
                peak: words(peak),
                values,
                colour,
            }
        };
    let all = [
        make(
            "Sessions",
            Color::Blue,
            &|one| gauge(one, "sessions"),
            &|n| format!("{} open", units::grouped(n)),
        ),
        make(
            "New sessions",
            Color::Blue,
            &|one| rate(one, &["sessions_made"]),
            &|n| format!("{} /s", units::short(n)),
        ),
        make(
            "Received",
            Color::Cyan,
            &|one| rate(one, &["received_bytes"]),
            &per_second,
        ),
        make(
            "Sent",
            Color::Magenta,
            &|one| rate(one, &["sent_bytes"]),
            &per_second,
        ),
        make(
            "Median round trip",
            Color::Green,
            &|one| millis(one, "rtt_median_seconds"),
            &|n| format!("{} ms", units::millis(n)),
        ),
    ];
    let rows = Layout::vertical([Constraint::Fill(1); 5]).split(area);
    for (series, area) in all.into_iter().zip(rows.iter()) {
        let title = Line::from(vec![
            Span::raw(format!(" {}  ", series.name)),
            Span::styled(series.now, STRONG),
            Span::styled(format!("  peak {} ", series.peak), QUIET),
        ]);
        // Bars are whole numbers: thousandths of the highest one.
        let most = series
            .values
            .iter()
            .copied()
            .fold(f64::MIN_POSITIVE, f64::max);
        let bars = series
            .values
            .iter()
            .map(|value| (value / most * 1000.0) as u64);
        let spark = Sparkline::default()
            .block(Block::bordered().title(title).border_style(QUIET))
            .data(bars)
            .max(1000)
            .style(Style::new().fg(series.colour));
        frame.render_widget(spark, *area);
    }
}

fn draw_round_trips(frame: &mut Frame<'_>, area: Rect, latest: &Reading) {
    let title = format!(" Round trips  {} ", round_trips(latest));
    let block = Block::bordered().title(title).border_style(QUIET);
    let room = usize::from(area.width.saturating_sub(2));
    let steps = latest.rtt.as_ref().map(steps).unwrap_or_default();
    let most = steps
        .iter()
        .map(|step| step.count)
        .max()
        .unwrap_or(1)
        .max(1);
    let lines = steps.iter().map(|step| {
        let name = format!("{:>6} ms ", format!("≤{}", step.upto));
        let count = format!(" {}", step.count);
        let width = room.saturating_sub(name.chars().count() + count.len() + 1);
        let bar = (step.count as f64 / most as f64 * width as f64).ceil() as usize;
        Line::from(vec![
            Span::styled(name, QUIET),
            Span::styled("█".repeat(bar), Style::new().fg(Color::Green)),
            Span::raw(count),
        ])
    });
    frame.render_widget(Paragraph::new(lines.collect::<Vec<_>>()).block(block), area);
}

fn draw_drops(frame: &mut Frame<'_>, area: Rect, latest: &Reading) {
    let short = |value: Option<f64>| value.map_or_else(|| "–".to_owned(), units::short);
    let count = |name: &str| latest.counters.get(name).copied().unwrap_or_default();
    let refused = REFUSED.iter().map(|name| count(name)).sum::<u64>();
    let lines = [
        format!(
            "packets lost       {} /s, {} %, {} so far",
            short(rate(latest, &["lost_packets"])),
            short(loss(latest)),
            count("lost_packets"),
        ),
        format!(
            "datagrams dropped  {} /s, {} so far",
            short(rate(latest, &["datagrams_dropped"])),
            count("datagrams_dropped"),
        ),
        format!(
            "refused            {} /s, {refused} so far",
            short(rate(latest, &REFUSED)),
        ),
    ];
    let block = Block::bordered().title(" Drops ").border_style(QUIET);
    frame.render_widget(
        Paragraph::new(lines.map(Line::from).to_vec()).block(block),
        area,
    );
}

fn draw_alerts(frame: &mut Frame<'_>, area: Rect, latest: &Reading) {
    let lines: Vec<Line<'_>> = match latest.alerts.is_empty() {
        true => vec![Line::styled("none", QUIET)],
        false => {
            let newest = latest.alerts.iter().rev();
            newest
                .map(|alert| {
                    let style = match (alert.cleared, &alert.severity[..]) {
                        (true, _) => QUIET,
                        (false, "critical") => Style::new().fg(Color::Red),
                        (false, "warning") => Style::new().fg(Color::Yellow),
                        (false, _) => Style::new(),
                    };
                    Line::styled(alert_words(alert, latest.at_ms), style)
                })
                .collect()
        }
    };
    let block = Block::bordered().title(" Alerts ").border_style(QUIET);
    let words = Paragraph::new(lines).wrap(Wrap { trim: true }).block(block);
    frame.render_widget(words, area);
}
