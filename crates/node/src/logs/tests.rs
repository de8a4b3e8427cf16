use super::*;

fn query(parameters: &[(&str, &str)]) -> LogQuery {
    let now = "2026-11-22T00:00:10Z".parse().unwrap();
    LogQuery::parse(parameters.iter().copied(), now).unwrap()
}

async fn read(path: &Path, parameters: &[(&str, &str)]) -> String {
    let (sink, mut source) = tokio::sync::mpsc::channel(64);
    let query = query(parameters);
    let (result, text) = tokio::join!(
        async {
            let sink = sink;
            follow(path, &query, None, &sink).await
        },
        async {
            let mut text = Vec::new();
            while let Some(bytes) = source.recv().await {
                text.extend_from_slice(&bytes);
            }
            String::from_utf8(text).unwrap()
        }
    );
    result.unwrap();
    text
}

#[tokio::test]
async fn lines_are_kept_however_they_come() {
    let directory = tempfile::tempdir().unwrap();
    let logs = LogDirectory::new(directory.path(), ("ns", "pod", "uid"), "c");
    let mut log = logs.begin(0).unwrap();
    for chunk in ["on", "e\ntwo\nth", "ree\n", "\n", "rest"] {
        log.write(Stream::Out, chunk.as_bytes());
        log.write(Stream::Err, b"x");
    }
    log.finish();
    let path = logs.file(0);
    assert_eq!(read(&path, &[]).await, "one\ntwo\nthree\n\nrestxxxxx");
    assert_eq!(read(&path, &[("tailLines", "2")]).await, "restxxxxx");
    assert_eq!(read(&path, &[("tailLines", "0")]).await, "");
    assert_eq!(read(&path, &[("limitBytes", "5")]).await, "one\nt");
    let line = read(&path, &[("timestamps", "true"), ("limitBytes", "35")]).await;
    let (time, text) = line.split_once(' ').unwrap();
    assert!(time.parse::<Timestamp>().is_ok() && text.starts_with("one\n"), "{line}");
    assert_eq!(read(&path, &[("sinceTime", "2999-01-01T00:00:00Z")]).await, "");
}

#[tokio::test]
async fn long_lines_and_long_files_are_cut() {
    let directory = tempfile::tempdir().unwrap();
    let logs = LogDirectory::new(directory.path(), ("ns", "pod", "uid"), "c");
    let mut log = logs.begin(0).unwrap();
    let long = "y".repeat(MAX_LINE * 2 + 5);
    log.write(Stream::Out, format!("{long}\n").as_bytes());
    assert_eq!(read(&logs.file(0), &[]).await, format!("{long}\n"));

    log.limit = 1000;
    for number in 0..100 {
        log.write(Stream::Out, format!("line {number}\n").as_bytes());
    }
    let kept = read(&logs.file(0), &[]).await;
    assert!(kept.ends_with("line 98\nline 99\n") && kept.len() < 2000, "{kept}");
    let bytes = fs::metadata(logs.file(0)).unwrap().len();
    assert!(bytes <= 1000 && rotated(&logs.file(0)).exists());
}

#[tokio::test]
async fn a_follower_sees_all_lines_across_a_rotation() {
    let directory = tempfile::tempdir().unwrap();
    let logs = LogDirectory::new(directory.path(), ("ns", "pod", "uid"), "c");
    let mut log = logs.begin(0).unwrap();
    log.limit = 400;
    let (sink, mut source) = tokio::sync::mpsc::channel(64);
    let (path, growth) = (logs.file(0), log.growth());
    let query = query(&[("follow", "true")]);
    let follower = tokio::spawn(async move { follow(&path, &query, Some(growth), &sink).await });
    for number in 0..30 {
        log.write(Stream::Out, format!("{number}\n").as_bytes());
        assert_eq!(source.recv().await.unwrap(), format!("{number}\n"));
    }
    drop(log);
    follower.await.unwrap().unwrap();
    assert_eq!(source.recv().await, None);
}

#[test]
fn parameters_are_checked() {
    assert!(LogQuery::parse([("tailLines", "-1")].into_iter(), Timestamp::UNIX_EPOCH).is_err());
    let since = query(&[("sinceSeconds", "10")]).since.unwrap();
    assert_eq!(since, "2026-11-22T00:00:00Z".parse().unwrap());
}
