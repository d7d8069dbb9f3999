package health

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// grpcPrefix is the length of what precedes each gRPC message: one byte that
// says whether it is compressed, and its length as 4 bytes, big endian.
const grpcPrefix = 5

// healthStatus is grpc.health.v1.HealthCheckResponse.ServingStatus.
type healthStatus uint64

const servingStatus healthStatus = 1

func (s healthStatus) String() string {
	switch s {
	case 0:
		return "UNKNOWN"
	case servingStatus:
		return "SERVING"
	case 2:
		return "NOT_SERVING"
	case 3:
		return "SERVICE_UNKNOWN"
	}
	return fmt.Sprintf("status %d", uint64(s))
}

// unframe returns the message of a body that holds exactly one uncompressed
// gRPC message.
func unframe(body []byte) ([]byte, error) {
	if len(body) < grpcPrefix {
		return nil, fmt.Errorf("the answer has %d bytes, fewer than gRPC's framing", len(body))
	}
	if body[0] != 0 {
		return nil, errors.New("the answer is compressed, which was not asked for")
	}
	message := body[grpcPrefix:]
	if n := binary.BigEndian.Uint32(body[1:grpcPrefix]); uint64(n) != uint64(len(message)) {
		return nil, fmt.Errorf("the answer says that its message has %d bytes; it has %d", n, len(message))
	}
	return message, nil
}

// Protocol buffers' wire types, the low three bits of a field's tag
// (https://protobuf.dev/programming-guides/encoding/).
const (
	wireVarint  = 0
	wireFixed64 = 1
	wireBytes   = 2
	wireFixed32 = 5
)

var errProtobuf = errors.New("malformed protocol buffer")

// parseHealthReply decodes a HealthCheckResponse: field 1, a varint, is the
// status. An absent field is 0, a repeated one counts with its last value, and
// unknown fields are skipped, as the encoding's rules say.
func parseHealthReply(b []byte) (healthStatus, error) {
	const statusField = 1
	var status healthStatus
	for len(b) > 0 {
		tag, n := binary.Uvarint(b)
		if n <= 0 || tag>>3 == 0 || tag > 1<<32-1 {
			return 0, fmt.Errorf("tag: %w", errProtobuf)
		}
		b = b[n:]
		field, wire := tag>>3, tag&7
		if field == statusField && wire != wireVarint {
			return 0, fmt.Errorf("status has wire type %d: %w", wire, errProtobuf)
		}
		if field == statusField {
			v, _ := binary.Uvarint(b) // a bad one is reported by fieldSize
			status = healthStatus(v)
		}
		size, err := fieldSize(wire, b)
		if err != nil {
			return 0, fmt.Errorf("field %d: %w", field, err)
		}
		b = b[size:]
	}
	return status, nil
}

// fieldSize returns how many bytes of b the value of a field takes, never more
// than there are.
func fieldSize(wire uint64, b []byte) (int, error) {
	switch wire {
	case wireVarint:
		if _, n := binary.Uvarint(b); n > 0 {
			return n, nil
		}
	case wireBytes:
		if v, n := binary.Uvarint(b); n > 0 && v <= uint64(len(b)-n) {
			return n + int(v), nil
		}
	case wireFixed64:
		if len(b) >= 8 {
			return 8, nil
		}
	case wireFixed32:
		if len(b) >= 4 {
			return 4, nil
		}
	}
	return 0, errProtobuf
}
