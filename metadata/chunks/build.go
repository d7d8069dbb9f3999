package chunks

// Builder makes the map of the file that is written to it.
type Builder struct {
	splitter *Splitter
	made     Map
}

// NewBuilder returns a Builder for chunks of the given sizes.
func NewBuilder(p Params) *Builder {
	b := &Builder{made: Map{Params: p}}
	b.splitter = NewSplitter(p, b.add)
	return b
}

func (b *Builder) add(chunk []byte) error {
	b.made.Chunks = append(b.made.Chunks, Chunk{ID: IDOf(chunk), Length: uint32(len(chunk))})
	return nil
}

// Write takes the next bytes of the file.
func (b *Builder) Write(data []byte) (int, error) {
	return b.splitter.Write(data)
}

// Map ends the file and returns its map. The error is about the parameters.
// Nothing may be written after it.
func (b *Builder) Map() (*Map, error) {
	if err := b.splitter.Close(); err != nil {
		return nil, err
	}
	return &b.made, nil
}
