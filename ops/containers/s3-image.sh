#!/usr/bin/env bash
# What a container image of the dev stack's S3 server is built of, from this machine alone: no registry, no download.
#
#   ops/containers/s3-image.sh FOLDER && docker build -t holdfast/s3 FOLDER
#   docker run --rm -p 9000:9000 holdfast/s3      (the account is holdfast with holdfast-secret)
#
# FOLDER gets Dockerfile and root.tar: a Java run-time image by this JDK's jlink (JAVA_HOME, else the java on the path), the
# system's libraries that it is linked to, and the server's jars (./holdfast build). About 100 MB. Linux only, like Holdfast.
set -euo pipefail
fail() { echo "s3-image: $*" >&2; exit 1; }
[ $# = 1 ] || fail "usage: $0 FOLDER"
server=$(cd "$(dirname "$0")/../devstack/s3" && pwd)/target
[ -d "$server/lib" ] || fail "$server/lib is not there; build first: ./holdfast build"
jdk=${JAVA_HOME:-$(dirname "$(dirname "$(readlink -f "$(command -v java)")")")}
[ -x "$jdk/bin/jlink" ] || fail "$jdk/bin/jlink is not there: a whole JDK is needed"
mkdir -p "$1"
out=$(cd "$1" && pwd)
root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT

mkdir -p "$root"/{opt/s3,data,tmp,etc}
"$jdk/bin/jlink" --add-modules java.se,jdk.unsupported,jdk.crypto.ec,jdk.zipfs,jdk.xml.dom --strip-java-debug-attributes --no-header-files --no-man-pages --output "$root/opt/java" > "$root/log" \
  || fail "jlink of $jdk failed: $(tail -3 "$root/log")"
cp "$server/lib"/*.jar "$root/opt/s3/"
jars=("$server"/*.jar)
if [ -f "${jars[0]}" ]; then cp "${jars[@]}" "$root/opt/s3/"; else cp -r "$server/classes" "$root/opt/s3/"; fi # before it is packaged
# what the run-time image's programs and libraries are linked to, the dynamic loader too, at the same paths
find "$root/opt/java" -type f \( -name java -o -name '*.so' \) -exec ldd {} + 2> /dev/null \
  | grep -o '/[^ ]*\.so[^ ]*' | grep -v "^$root" | sort -u > "$root/log"
while read -r library; do
  [ ! -f "$library" ] || install -D "$library" "$root$library"
done < "$root/log"
rm "$root/log"
echo 's3:x:65534:65534::/data:/nonexistent' > "$root/etc/passwd"
chmod 755 "$root"
chmod 1777 "$root/data" "$root/tmp"
tar -C "$root" --owner=0 --group=0 --numeric-owner -cf "$out/root.tar" .
cat > "$out/Dockerfile" <<'END'
FROM scratch
ADD root.tar /
USER 65534:65534
EXPOSE 9000
ENTRYPOINT ["/opt/java/bin/java", "-XX:+UseSerialGC", "-Xmx512m", "-cp", "/opt/s3/classes:/opt/s3/*", "io.holdfast.devstack.s3.S3ServerMain", \
  "--host", "0.0.0.0", "--port", "9000", "--data", "/data", "--access-key", "holdfast", "--secret-key", "holdfast-secret", "--bucket", "holdfast"]
END
